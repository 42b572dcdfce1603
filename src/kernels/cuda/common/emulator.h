#pragma once
/// Runs the kernels of this folder on the CPU: the host compiler reads the very source that nvcc does, so tests prove index arithmetic,
/// barriers and asynchronous copies without a GPU. The threads of a block are fibers that run in a random order between barriers; shared
/// memory starts as NaN and ends in a canary; an asynchronous copy lands at a random legal moment. A missing barrier or wait, a
/// collective that not every lane reaches, and a block that waits for ever end in an exception.
///
/// Not emulated: memory of other blocks (no kernel here communicates between blocks), warps of fewer than 32 threads, atomics.

#include <ucontext.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <exception>
#include <functional>
#include <memory>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __launch_bounds__(...)

struct dim3 {
  unsigned x = 1, y = 1, z = 1;
};
inline dim3 threadIdx, blockIdx, blockDim, gridDim;

struct alignas(8) float2 {
  float x, y;
};
struct alignas(16) float4 {
  float x, y, z, w;
};
struct alignas(16) uint4 {
  uint32_t x, y, z, w;
};
inline float2 make_float2(float x, float y) { return {x, y}; }
inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }

namespace peft::cuda {

/// The upper half of a float, rounded to nearest even.
struct bf16 {
  uint16_t bits;
};
inline float to_float(bf16 x) { return std::bit_cast<float>(static_cast<uint32_t>(x.bits) << 16); }
inline bf16 to_bf16(float x) {
  const auto bits = std::bit_cast<uint32_t>(x);
  if (std::isnan(x)) return {static_cast<uint16_t>((bits >> 16) | 0x40U)};
  return {static_cast<uint16_t>((bits + 0x7fffU + ((bits >> 16) & 1U)) >> 16)};
}
using half = _Float16;
inline float to_float(half x) { return static_cast<float>(x); }
inline half to_half(float x) { return static_cast<half>(x); }

namespace emulator {

struct Copy {
  void* to;
  const void* from;
  std::size_t bytes, valid;  // the rest is zeroed
};

struct Thread {
  ucontext_t context{};
  dim3 index;
  enum class State { ready, at_barrier, in_warp, done } state = State::ready;
  int64_t warp_calls = 0;
  std::vector<std::vector<Copy>> groups;  // closed by commit, oldest first
  std::vector<Copy> open;
};

struct Warp {
  int arrived = 0;
  bool behind = false;                      // runs only when no other warp can, until the next barrier
  const char* call = nullptr;               // what the lanes are in: all in the same
  alignas(16) std::byte values[2][32][64];  // two calls: a lane may be in the next one while another still reads
};

/// One block at a time.
class Block {
 public:
  static Block& current() { return *instance(); }

  Block(dim3 size, std::size_t shared_bytes, uint64_t seed)
      : shared_(shared_bytes + kCanary),
        random_(seed),
        threads_(size.x * size.y * size.z),
        warps_(threads_.size() / 32) {
    if (threads_.size() % 32 != 0)
      throw std::logic_error("emulator: a block of " + std::to_string(threads_.size()) + " threads");
    blockDim = size;
    instance() = this;
    for (std::size_t i = 0; i < threads_.size(); ++i) {
      const auto n = static_cast<unsigned>(i);
      threads_[i].index = {n % size.x, n / size.x % size.y, n / size.x / size.y};
    }
  }

  void run(const std::function<void()>& kernel) {
    std::fill(shared_.begin(), shared_.end(), std::byte{0xff});
    body_ = &kernel;
    draw_behind();
    static std::vector<std::unique_ptr<std::byte[]>> stacks;  // kept: a launch has many blocks
    while (stacks.size() < threads_.size()) stacks.push_back(std::make_unique<std::byte[]>(kStack));
    for (std::size_t i = 0; i < threads_.size(); ++i) {
      ucontext_t& context = threads_[i].context;
      getcontext(&context);
      context.uc_stack.ss_sp = stacks[i].get();
      context.uc_stack.ss_size = kStack;
      context.uc_link = &scheduler_;
      makecontext(&context, &Block::enter, 0);
    }
    std::vector<std::size_t> ready;
    while (true) {
      ready.clear();
      for (std::size_t i = 0; i < threads_.size(); ++i) {
        if (threads_[i].state == Thread::State::ready) ready.push_back(i);
      }
      if (ready.empty()) break;
      // Some warps reach the next barrier before the others have left this one, as on a GPU.
      const auto behind =
          std::stable_partition(ready.begin(), ready.end(), [&](std::size_t i) { return !warps_[i / 32].behind; });
      if (behind != ready.begin()) ready.erase(behind, ready.end());
      std::shuffle(ready.begin(), ready.end(), random_);
      for (const std::size_t i : ready) {
        running_ = i;
        threadIdx = threads_[i].index;
        swapcontext(&scheduler_, &threads_[i].context);
        if (error_) std::rethrow_exception(error_);
      }
      release_barrier();
    }
    for (const Thread& t : threads_) {
      if (t.state != Thread::State::done)
        throw std::logic_error("emulator: threads wait for ever at a barrier or in a warp");
    }
    if (!std::all_of(shared_.end() - kCanary, shared_.end(), [](std::byte b) { return b == std::byte{0xff}; }))
      throw std::logic_error("emulator: a write behind the end of shared memory");
  }

  std::byte* shared() { return shared_.data(); }

  void barrier() {
    thread().state = Thread::State::at_barrier;
    leave();
  }

  /// Every lane of the warp gives a value and then reads those of all.
  template <class T>
  const T& exchange(const char* call, const T& value, int lane_to_read) {
    deposit(call, value);
    return read<T>(lane_to_read);
  }
  template <class T>
  void deposit(const char* call, const T& value) {
    static_assert(sizeof(T) <= 64 && std::is_trivially_copyable_v<T>);
    Warp& warp = warps_[running_ / 32];
    Thread& self = thread();
    if (warp.arrived == 0) warp.call = call;
    if (std::strcmp(warp.call, call) != 0)
      throw std::logic_error(std::string("emulator: lanes of one warp are in ") + warp.call + " and " + call);
    std::memcpy(warp.values[self.warp_calls % 2][running_ % 32], &value, sizeof(T));
    ++self.warp_calls;
    if (++warp.arrived < 32) {
      self.state = Thread::State::in_warp;
      leave();
      return;
    }
    warp.arrived = 0;
    const std::size_t first = running_ / 32 * 32;
    for (std::size_t i = first; i < first + 32; ++i) {
      if (threads_[i].state == Thread::State::done)
        throw std::logic_error(std::string("emulator: a lane has left before ") + call);
      threads_[i].state = Thread::State::ready;
    }
    leave();  // who goes on first is random, too
  }
  template <class T>
  const T& read(int lane) const {
    return *reinterpret_cast<const T*>(warps_[running_ / 32].values[(threads_[running_].warp_calls + 1) % 2][lane]);
  }
  int lane() const { return static_cast<int>(running_ % 32); }

  void copy(const Copy& copy) { thread().open.push_back(copy); }
  void commit() {
    Thread& self = thread();
    self.groups.push_back(std::move(self.open));
    self.open.clear();
    if (random_() % 2 == 0) finish(self.groups.back());
  }
  void wait(int newest_left) {
    Thread& self = thread();
    while (static_cast<int>(self.groups.size()) > newest_left) {
      finish(self.groups.front());
      self.groups.erase(self.groups.begin());
    }
  }

 private:
  static constexpr std::size_t kCanary = 64, kStack = std::size_t{128} << 10;

  static Block*& instance() {
    static Block* block = nullptr;
    return block;
  }
  static void enter() {
    Block& self = current();
    try {
      (*self.body_)();
      self.wait_all();
    } catch (...) {
      self.error_ = std::current_exception();
    }
    self.thread().state = Thread::State::done;
  }
  void wait_all() {
    if (!thread().open.empty()) throw std::logic_error("emulator: asynchronous copies that no commit closes");
    wait(0);
  }
  static void finish(std::vector<Copy>& group) {
    for (const Copy& c : group) {
      std::memcpy(c.to, c.from, c.valid);
      std::memset(static_cast<std::byte*>(c.to) + c.valid, 0, c.bytes - c.valid);
    }
    group.clear();
  }
  Thread& thread() { return threads_[running_]; }
  void leave() {
    const std::size_t self = running_;
    swapcontext(&threads_[self].context, &scheduler_);
  }
  /// A barrier opens when every thread that has not ended waits there.
  void release_barrier() {
    for (const Thread& t : threads_) {
      if (t.state == Thread::State::ready || t.state == Thread::State::in_warp) return;
    }
    for (Thread& t : threads_) {
      if (t.state == Thread::State::at_barrier) t.state = Thread::State::ready;
    }
    draw_behind();
  }

  void draw_behind() {
    for (Warp& warp : warps_) warp.behind = random_() % 2 == 0;
  }

  std::vector<std::byte> shared_;
  std::mt19937_64 random_;
  std::vector<Thread> threads_;
  std::vector<Warp> warps_;
  ucontext_t scheduler_{};
  const std::function<void()>* body_ = nullptr;
  std::size_t running_ = 0;
  std::exception_ptr error_;
};

/// Seed of the order in which threads run; a test that fails prints it.
inline uint64_t& seed() {
  static uint64_t value = 1;
  return value;
}

inline void launch(dim3 grid, dim3 block, std::size_t shared_bytes, const std::function<void()>& kernel) {
  gridDim = grid;
  for (unsigned z = 0; z < grid.z; ++z) {
    for (unsigned y = 0; y < grid.y; ++y) {
      for (unsigned x = 0; x < grid.x; ++x) {
        blockIdx = {x, y, z};
        Block(block, shared_bytes, seed() * 1000003U + x + 7919U * y + 104729U * z).run(kernel);
      }
    }
  }
}

}  // namespace emulator
}  // namespace peft::cuda

inline void __syncthreads() { peft::cuda::emulator::Block::current().barrier(); }
inline void __syncwarp() { peft::cuda::emulator::Block::current().deposit("__syncwarp", 0); }
template <class T>
T __shfl_xor_sync(unsigned, T value, int mask) {
  auto& block = peft::cuda::emulator::Block::current();
  return block.exchange("__shfl_xor_sync", value, block.lane() ^ mask);
}
template <class T>
T __shfl_sync(unsigned, T value, int lane) {
  return peft::cuda::emulator::Block::current().exchange("__shfl_sync", value, lane & 31);
}
template <class T>
T __shfl_down_sync(unsigned, T value, int delta) {
  auto& block = peft::cuda::emulator::Block::current();
  const int from = block.lane() + delta;
  return block.exchange("__shfl_down_sync", value, from < 32 ? from : block.lane());
}
inline float __expf(float x) { return std::exp(x); }
inline float rsqrtf(float x) { return 1.0F / std::sqrt(x); }
