#include "threads.h"

#include <pthread.h>
#include <sched.h>
#include <time.h>
#include <unistd.h>

namespace gatestack {

namespace {

void pause_processor() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ volatile("yield");
#endif
}

// One call at a time has the pool; a call that finds it taken runs on its own thread, which gives the same bits.
struct Pool {
  static constexpr int kMost = 255;
  pthread_mutex_t mutex;
  pthread_cond_t work;      // a job has come
  pthread_cond_t left;      // a worker has left the job
  bool taken;               // a caller has the pool
  int workers;              // threads started
  int wanted;               // workers that may still join the job
  int inside;               // workers in the job
  uint32_t jobs;            // counts jobs, read without the mutex by workers that have not parked yet
  TeamBody body;
  void *context;
  Team *team;
};

Pool pool;
pid_t pool_owner = 0; // the process the workers live in; a forked child has none of them
pthread_mutex_t owner_mutex = PTHREAD_MUTEX_INITIALIZER;
OpenMPParallel openmp_parallel = nullptr;
pid_t openmp_owner = 0;

int64_t microseconds() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<int64_t>(now.tv_sec) * 1000000 + now.tv_nsec / 1000;
}

// Between calls a worker looks for the next one for this long before it parks: the calls of a training loop or of a
// stream follow each other faster than a parked thread wakes.
constexpr int64_t kSpinMicroseconds = 50;

void spin_for_job(uint32_t seen) {
  const int64_t until = microseconds() + kSpinMicroseconds;
  while (microseconds() < until) {
    for (int i = 0; i < 32; ++i) {
      if (__atomic_load_n(&pool.jobs, __ATOMIC_ACQUIRE) != seen) return;
      pause_processor();
    }
    sched_yield(); // where another process wants this core, it gets it
  }
}

void *work(void *) {
  pthread_mutex_lock(&pool.mutex);
  for (uint32_t seen = 0;;) {
    while (pool.jobs == seen || pool.wanted == 0) {
      seen = pool.jobs;
      pthread_cond_wait(&pool.work, &pool.mutex);
    }
    seen = pool.jobs;
    --pool.wanted;
    ++pool.inside;
    const TeamBody body = pool.body;
    void *const context = pool.context;
    Team *const team = pool.team;
    pthread_mutex_unlock(&pool.mutex);
    body(context, *team);
    pthread_mutex_lock(&pool.mutex);
    if (--pool.inside == 0) pthread_cond_signal(&pool.left);
    pthread_mutex_unlock(&pool.mutex);
    spin_for_job(seen);
    pthread_mutex_lock(&pool.mutex);
  }
}

// Makes the pool anew in a process that has none: at the first call, and in a child after fork.
void own_pool() {
  const pid_t process = getpid();
  if (__atomic_load_n(&pool_owner, __ATOMIC_ACQUIRE) == process) return;
  pthread_mutex_lock(&owner_mutex);
  if (pool_owner != process) {
    pool = Pool();
    pthread_mutex_init(&pool.mutex, nullptr);
    pthread_cond_init(&pool.work, nullptr);
    pthread_cond_init(&pool.left, nullptr);
    __atomic_store_n(&pool_owner, process, __ATOMIC_RELEASE);
  }
  pthread_mutex_unlock(&owner_mutex);
}

void forget_lock_after_fork() { pthread_mutex_init(&owner_mutex, nullptr); }

bool start_workers(int count) { // with the mutex held
  while (pool.workers < count) {
    pthread_attr_t attributes;
    pthread_t thread;
    pthread_attr_init(&attributes);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    const int failed = pthread_create(&thread, &attributes, work, nullptr);
    pthread_attr_destroy(&attributes);
    if (failed) return pool.workers > 0; // fewer threads: slower, same result
    ++pool.workers;
  }
  return true;
}

struct OpenMPJob {
  TeamBody body;
  void *context;
  Team *team;
};

void run_openmp_member(void *job) {
  OpenMPJob *const it = static_cast<OpenMPJob *>(job);
  it->body(it->context, *it->team);
}

} // namespace

void Patience::wait() {
  // A few microseconds of pauses cover a task that ends while we look; after that the core may be wanted by the
  // very thread we wait for.
  if (++waited_ < 400) pause_processor();
  else sched_yield();
}

void Team::wait_until_done(int64_t end) {
  Patience patience;
  while (__atomic_load_n(&done_, __ATOMIC_ACQUIRE) < end) patience.wait();
}

void use_openmp(OpenMPParallel parallel) {
  openmp_parallel = parallel;
  openmp_owner = getpid();
}

void run_team(int threads, TeamBody body, void *context) {
  Team team;
  if (threads <= 1) return body(context, team);
  if (threads > Pool::kMost) threads = Pool::kMost;

  // OpenMP's threads do not survive a fork, and its pool would wait for them for ever.
  if (openmp_parallel && openmp_owner == getpid()) {
    OpenMPJob job = {body, context, &team};
    return openmp_parallel(run_openmp_member, &job, static_cast<unsigned>(threads), 0);
  }

  static pthread_once_t once = PTHREAD_ONCE_INIT;
  pthread_once(&once, [] { pthread_atfork(nullptr, nullptr, forget_lock_after_fork); });
  own_pool();
  pthread_mutex_lock(&pool.mutex);
  const bool have = !pool.taken && start_workers(threads - 1);
  if (have) {
    pool.taken = true;
    pool.body = body;
    pool.context = context;
    pool.team = &team;
    pool.wanted = threads - 1;
    __atomic_add_fetch(&pool.jobs, 1, __ATOMIC_RELEASE);
    pthread_cond_broadcast(&pool.work);
  }
  pthread_mutex_unlock(&pool.mutex);
  body(context, team);
  if (!have) return;
  pthread_mutex_lock(&pool.mutex);
  pool.wanted = 0; // nobody joins any more; who has joined holds a reference to our team
  while (pool.inside > 0) pthread_cond_wait(&pool.left, &pool.mutex);
  pool.taken = false;
  pthread_mutex_unlock(&pool.mutex);
}

} // namespace gatestack
