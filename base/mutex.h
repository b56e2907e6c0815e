// SPDX-License-Identifier: Apache-2.0
// Locks whose rules clang checks (-Wthread-safety; tools/lint has it among its checks). A member says which lock guards
// it, and a function which lock its caller must hold. For other compilers these words mean nothing.
//
//   Mutex mutex_;
//   int count_ GUARDED_BY(mutex_) = 0;
//   void add_one() REQUIRES(mutex_) { count_++; }
//   ...
//   MutexLock lock(mutex_);
//   add_one();
//
// clang looks at each function alone, and a lambda is a function: one that runs under the lock of its maker begins with
// assert_held().
#pragma once

#include <mutex>
#include <shared_mutex>

#ifdef __clang__
#define NACRE_THREAD_ATTRIBUTE(attribute) __attribute__((attribute))
#else
#define NACRE_THREAD_ATTRIBUTE(attribute)
#endif
#define GUARDED_BY(lock) NACRE_THREAD_ATTRIBUTE(guarded_by(lock))
#define REQUIRES(lock) NACRE_THREAD_ATTRIBUTE(requires_capability(lock))

namespace nacre {

class NACRE_THREAD_ATTRIBUTE(capability("mutex")) Mutex {
 public:
  void lock() NACRE_THREAD_ATTRIBUTE(acquire_capability()) { mutex_.lock(); }
  void unlock() NACRE_THREAD_ATTRIBUTE(release_capability()) { mutex_.unlock(); }
  // Tells clang that the lock is held here; checks nothing.
  void assert_held() const NACRE_THREAD_ATTRIBUTE(assert_capability(this)) {}

 private:
  std::mutex mutex_;
};

// Holds a Mutex as long as it lives.
class NACRE_THREAD_ATTRIBUTE(scoped_lockable) MutexLock {
 public:
  explicit MutexLock(Mutex& mutex) NACRE_THREAD_ATTRIBUTE(acquire_capability(mutex)) : mutex_(mutex) { mutex_.lock(); }
  ~MutexLock() NACRE_THREAD_ATTRIBUTE(release_capability()) { mutex_.unlock(); }
  MutexLock(const MutexLock&) = delete;
  MutexLock& operator=(const MutexLock&) = delete;

 private:
  Mutex& mutex_;
};

// Held by one who writes, or by any number who read.
class NACRE_THREAD_ATTRIBUTE(capability("mutex")) SharedMutex {
 public:
  void lock() NACRE_THREAD_ATTRIBUTE(acquire_capability()) { mutex_.lock(); }
  void unlock() NACRE_THREAD_ATTRIBUTE(release_capability()) { mutex_.unlock(); }
  void lock_shared() NACRE_THREAD_ATTRIBUTE(acquire_shared_capability()) { mutex_.lock_shared(); }
  void unlock_shared() NACRE_THREAD_ATTRIBUTE(release_shared_capability()) { mutex_.unlock_shared(); }

 private:
  std::shared_mutex mutex_;
};

class NACRE_THREAD_ATTRIBUTE(scoped_lockable) WriteLock {
 public:
  explicit WriteLock(SharedMutex& mutex) NACRE_THREAD_ATTRIBUTE(acquire_capability(mutex)) : mutex_(mutex) {
    mutex_.lock();
  }
  ~WriteLock() NACRE_THREAD_ATTRIBUTE(release_capability()) { mutex_.unlock(); }
  WriteLock(const WriteLock&) = delete;
  WriteLock& operator=(const WriteLock&) = delete;

 private:
  SharedMutex& mutex_;
};

class NACRE_THREAD_ATTRIBUTE(scoped_lockable) ReadLock {
 public:
  explicit ReadLock(SharedMutex& mutex) NACRE_THREAD_ATTRIBUTE(acquire_shared_capability(mutex)) : mutex_(mutex) {
    mutex_.lock_shared();
  }
  ~ReadLock() NACRE_THREAD_ATTRIBUTE(release_capability()) { mutex_.unlock_shared(); }
  ReadLock(const ReadLock&) = delete;
  ReadLock& operator=(const ReadLock&) = delete;

 private:
  SharedMutex& mutex_;
};

}  // namespace nacre
