// A team of threads for one call: one fork, phases of tasks, one join.
//
// Every member runs the same body, which calls Team::phase for the same phases in the same order. The tasks of a
// phase are taken one by one by whoever is free, and a phase is over when its tasks are done, not when every
// thread has come: a thread that another process keeps from running delays nothing but the task it holds.
#ifndef GATESTACK_THREADS_H
#define GATESTACK_THREADS_H

#include <stdint.h>

namespace gatestack {

class Team {
public:
  // Runs task(i) for 0 ≤ i < count, each once, on any member; returns when all have been run. Tasks are begun in
  // the order of i, so task i may wait for a lower one that was begun.
  template <class Task> void phase(int64_t count, Task task, int64_t &begun) {
    const int64_t first = begun, end = first + count;
    begun = end;
    for (int64_t i; (i = take(end)) >= 0;) {
      task(i - first);
      __atomic_add_fetch(&done_, 1, __ATOMIC_RELEASE);
    }
    wait_until_done(end);
  }

private:
  // The next task below `end`, or -1. Tasks are numbered through all phases.
  // Always inline: the engines are compiled for different processors, and the linker would keep one copy for all.
  inline __attribute__((always_inline)) int64_t take(int64_t end) {
    int64_t next = __atomic_load_n(&next_, __ATOMIC_RELAXED);
    while (next < end)
      if (__atomic_compare_exchange_n(&next_, &next, next + 1, true, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED)) return next;
    return -1;
  }
  void wait_until_done(int64_t end);

  alignas(64) int64_t next_ = 0;
  alignas(64) int64_t done_ = 0;
};

// Waits a moment, longer with every call: first a pause of the processor, then the rest of the time slice.
class Patience {
public:
  void wait();

private:
  int waited_ = 0;
};

typedef void (*TeamBody)(void *context, Team &team);

// Runs body on at most `threads` threads, this one among them, and returns when none is in it any more. Any
// number of threads may call this at once, also after a fork.
void run_team(int threads, TeamBody body, void *context);

template <class Body> void run_team(int threads, Body &body) {
  run_team(threads, [](void *context, Team &team) { (*static_cast<Body *>(context))(team); }, &body);
}

// The GOMP_parallel of the OpenMP library that torch has loaded, or NULL. Its threads are then the team's, so that
// two pools of threads do not spin for the same cores.
typedef void (*OpenMPParallel)(void (*body)(void *), void *context, unsigned threads, unsigned flags);
void use_openmp(OpenMPParallel parallel);

} // namespace gatestack
#endif
