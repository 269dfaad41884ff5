# Compile the kernels if this machine can, and write down how that went; fail only where they are required.
#
# cmake -D source=native -D build=FOLDER -D generator=Ninja -D make_program=PATH -D out=FOLDER -D required=OFF \
#   -P native/try_build.cmake
#
# `out` then holds build.log, whose first line is the outcome, and, where it is "built …", the library.
file(REMOVE_RECURSE "${build}" "${out}")
file(MAKE_DIRECTORY "${out}")

function(run_step failed log)
  execute_process(COMMAND ${ARGN} RESULT_VARIABLE result OUTPUT_VARIABLE talk ERROR_VARIABLE talk)
  if(result EQUAL 0)
    set(${failed} FALSE PARENT_SCOPE)
  else()
    set(${failed} TRUE PARENT_SCOPE)
  endif()
  set(${log} "${talk}" PARENT_SCOPE)
endfunction()

run_step(failed log "${CMAKE_COMMAND}" -S "${source}" -B "${build}" -G "${generator}"
  "-DCMAKE_MAKE_PROGRAM=${make_program}" "-DGATESTACK_OUT=${out}")
if(failed)
  if(log MATCHES "_COMPILER could be found|Could not find compiler|not found in the PATH|is not a full path to an existing")
    set(outcome "no C++ compiler was found")
  else()
    set(outcome "the C++ compiler does not work")
  endif()
else()
  run_step(failed log "${CMAKE_COMMAND}" --build "${build}")
  if(failed)
    set(outcome "the compilation failed")
  endif()
endif()

if(failed)
  # A half-made library must not be installed.
  file(REMOVE_RECURSE "${out}")
  if(required)
    message(NOTICE "${log}")
    message(FATAL_ERROR "The kernels were not compiled: ${outcome}.")
  endif()
  message(NOTICE "${log}\nThe kernels were not compiled: ${outcome}. The package will run on torch's operators.")
  file(WRITE "${out}/build.log" "${outcome}\n${log}")
else()
  file(READ "${build}/outcome.txt" outcome)
  file(WRITE "${out}/build.log" "${outcome}\n")
  message(STATUS "The kernels: ${outcome}")
endif()
