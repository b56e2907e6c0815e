// SPDX-License-Identifier: Apache-2.0
// A guest without a kernel that drives vmm's real devices as no kernel would. It runs on the bare machine, polls, and
// tells how far it has come on the serial port. The command line is "SEED ROUNDS"; one seed gives one run.
#include <cstddef>
#include <cstdint>

#include "devices/virtio/fs/wire.h"
#include "devices/virtio/vsock/wire.h"

namespace {

namespace fuse = nacre::virtio::fs::wire;
namespace vsock = nacre::virtio::vsock;

constexpr size_t kWindows = 8;  // of the machine's MMIO area; the last ones have no device
constexpr uintptr_t kWindow = 0xd0000000;
constexpr uintptr_t kWindowSize = 0x1000;
constexpr size_t kQueueSize = 64;
constexpr size_t kMaxQueues = 4;
constexpr size_t kBufferSize = 1 << 16;
// Turns of a loop that polls: for an answer that has to come, and for one that may not, because the device waits for
// room of its own.
constexpr unsigned kPatience = 2'000'000, kLittlePatience = 5'000;

// virtio 1.3, 4.2.2
enum Register : uint32_t {
  kDeviceId = 0x008,
  kDriverFeatures = 0x020,
  kDriverFeaturesSelect = 0x024,
  kQueueSelect = 0x030,
  kQueueSizeMax = 0x034,
  kQueueSizeRegister = 0x038,
  kQueueReady = 0x044,
  kQueueNotify = 0x050,
  kStatus = 0x070,
  kDescriptorsLow = 0x080,
  kDriverLow = 0x090,
  kDeviceLow = 0x0a0,
  kConfig = 0x100,
};
enum DeviceId : uint32_t { kNetDevice = 1, kVsockDevice = 19, kMemDevice = 24, kFsDevice = 26 };

struct Descriptor {
  uint64_t address;
  uint32_t length;
  uint16_t flags, next;
};
constexpr uint16_t kNext = 1, kWrite = 2;

struct Rings {
  alignas(4096) Descriptor descriptors[kQueueSize];
  alignas(4096) volatile uint16_t available[kQueueSize + 3];  // flags, index, ring
  alignas(4096) volatile uint16_t used[2 + 4 * kQueueSize + 1];
};

alignas(4096) uint64_t page_map[512];
alignas(4096) uint64_t page_directories[512];
alignas(4096) uint64_t pages[4][512];
Rings rings[kMaxQueues];
alignas(4096) unsigned char sent[kBufferSize];
alignas(4096) unsigned char received[kBufferSize];
uint64_t seed;

void out(uint16_t port, uint8_t value) {
  asm volatile("outb %0, %1" : : "a"(value), "Nd"(port));
}

void say(const char* text) {
  for (; *text != '\0'; text++) out(0x3f8, static_cast<uint8_t>(*text));
}

[[noreturn]] void power_off() {
  out(0x600, 0x34);  // SLP_TYP 5, SLP_EN
  for (;;) asm volatile("hlt");
}

// xorshift64
uint64_t random() {
  seed ^= seed << 13;
  seed ^= seed >> 7;
  seed ^= seed << 17;
  return seed;
}

uint64_t random(uint64_t below) {
  return random() % below;
}

// Returns a number of the kind that breaks arithmetic.
uint64_t awkward() {
  constexpr uint64_t kNumbers[] = {0,          1,          2,          63,          64,         4096,
                                   0x7fffffff, 0x80000000, 0xffffffff, 0x100000000, 0xc0000000, kWindow,
                                   1ull << 62, 1ull << 63, ~0ull - 15, ~0ull};
  return random(4) == 0 ? random() : kNumbers[random(sizeof(kNumbers) / sizeof(kNumbers[0]))];
}

volatile uint32_t& at(size_t device, uint32_t offset) {
  return *reinterpret_cast<volatile uint32_t*>(kWindow + device * kWindowSize + offset);
}

void write64(size_t device, uint32_t low, uint64_t value) {
  at(device, low) = static_cast<uint32_t>(value);
  at(device, low + 4) = static_cast<uint32_t>(value >> 32);
}

bool wait_for(auto condition, unsigned turns = kPatience) {
  for (unsigned turn = 0; turn < turns; turn++) {
    if (condition()) return true;
    asm volatile("pause");
  }
  return false;
}

// The page tables of the start reach less far than the devices' windows.
void map_4_gib() {
  page_map[0] = reinterpret_cast<uint64_t>(page_directories) | 3;
  for (uint64_t gib = 0; gib < 4; gib++) {
    page_directories[gib] = reinterpret_cast<uint64_t>(pages[gib]) | 3;
    for (uint64_t i = 0; i < 512; i++) pages[gib][i] = (gib << 30 | i << 21) | 0x83;
  }
  asm volatile("mov %0, %%cr3" : : "r"(page_map) : "memory");
}

// Resets the device and brings it up as the specification says. Returns its number of queues.
size_t bring_up(size_t device) {
  at(device, kStatus) = 0;
  if (!wait_for([&] { return at(device, kStatus) == 0; })) return 0;
  at(device, kStatus) = 1;      // ACKNOWLEDGE
  at(device, kStatus) = 1 | 2;  // DRIVER
  at(device, kDriverFeaturesSelect) = 1;
  at(device, kDriverFeatures) = 1;  // VERSION_1
  at(device, kDriverFeaturesSelect) = 0;
  at(device, kDriverFeatures) = 0;
  at(device, kStatus) = 1 | 2 | 8;  // FEATURES_OK
  size_t count = 0;
  for (; count < kMaxQueues; count++) {
    Rings& queue = rings[count];
    at(device, kQueueSelect) = static_cast<uint32_t>(count);
    if (at(device, kQueueSizeMax) == 0) break;
    for (auto& word : queue.available) word = 0;
    for (auto& word : queue.used) word = 0;
    uint32_t most = at(device, kQueueSizeMax);
    at(device, kQueueSizeRegister) = most < kQueueSize ? most : kQueueSize;
    write64(device, kDescriptorsLow, reinterpret_cast<uint64_t>(queue.descriptors));
    write64(device, kDriverLow, reinterpret_cast<uint64_t>(queue.available));
    write64(device, kDeviceLow, reinterpret_cast<uint64_t>(queue.used));
    at(device, kQueueReady) = 1;
  }
  at(device, kStatus) = 1 | 2 | 8 | 4;  // DRIVER_OK
  return count;
}

bool needs_reset(size_t device) {
  return (at(device, kStatus) & 64) != 0;
}

// Sends `sent` and lets the device answer in `received`. Returns whether it did.
bool exchange(size_t device, size_t queue, size_t size, size_t room, unsigned turns = kPatience) {
  Rings& ring = rings[queue];
  ring.descriptors[0] = {reinterpret_cast<uint64_t>(sent), static_cast<uint32_t>(size), room > 0 ? kNext : uint16_t{0},
                         1};
  ring.descriptors[1] = {reinterpret_cast<uint64_t>(received), static_cast<uint32_t>(room), kWrite, 0};
  uint16_t index = ring.available[1];
  ring.available[2 + index % kQueueSize] = 0;
  asm volatile("mfence" : : : "memory");
  ring.available[1] = static_cast<uint16_t>(index + 1);
  asm volatile("mfence" : : : "memory");
  at(device, kQueueNotify) = static_cast<uint32_t>(queue);
  unsigned turn = 0;
  auto ended = [&] { return ring.used[1] == ring.available[1] || (++turn % 1024 == 0 && needs_reset(device)); };
  return wait_for(ended, turns) && ring.used[1] == ring.available[1];
}

// Reads and writes registers in any order and width, also of devices that are not there.
void confuse_registers(uint64_t rounds) {
  constexpr uint32_t kKnown[] = {0,    4,    8,    0xc,  0x10, 0x14, 0x20, 0x24, 0x30, 0x34, 0x38, 0x44, 0x50,  0x60,
                                 0x64, 0x70, 0x80, 0x84, 0x90, 0x94, 0xa0, 0xa4, 0xb0, 0xb8, 0xc0, 0xfc, 0x100, 0x110};
  for (uint64_t i = 0; i < rounds; i++) {
    uint32_t offset = random(8) == 0 ? static_cast<uint32_t>(random(kWindowSize - 8))
                                     : kKnown[random(sizeof(kKnown) / sizeof(kKnown[0]))];
    uintptr_t address = kWindow + random(kWindows) * kWindowSize + offset;
    uint64_t value = random(3) == 0 ? awkward() : random(16);
    switch (random(8)) {
      case 0:
        *reinterpret_cast<volatile uint8_t*>(address) = static_cast<uint8_t>(value);
        break;
      case 1:
        *reinterpret_cast<volatile uint16_t*>(address) = static_cast<uint16_t>(value);
        break;
      case 2:
        *reinterpret_cast<volatile uint64_t*>(address) = value;
        break;
      case 3:
      case 4:
        (void)*reinterpret_cast<volatile uint32_t*>(address);
        break;
      default:
        *reinterpret_cast<volatile uint32_t*>(address) = static_cast<uint32_t>(value);
    }
  }
}

// Makes rings that no driver would make, and changes them while the device reads them.
void confuse_rings(uint64_t rounds) {
  for (uint64_t i = 0; i < rounds; i++) {
    size_t device = random(kWindows);
    if (at(device, kDeviceId) == 0 || at(device, kDeviceId) == ~0u) continue;
    size_t count = bring_up(device);
    if (count == 0) continue;
    for (unsigned step = 0; step < 16; step++) {
      size_t queue = random(count);
      Rings& ring = rings[queue];
      for (unsigned k = 0; k < 8; k++) {
        bool honest = random(2) == 0;
        ring.descriptors[random(kQueueSize)] = {honest ? reinterpret_cast<uint64_t>(received) : awkward(),
                                                static_cast<uint32_t>(honest ? random(256) : awkward()),
                                                static_cast<uint16_t>(random(8)),
                                                static_cast<uint16_t>(random(kQueueSize + 2))};
        ring.available[2 + random(kQueueSize)] = static_cast<uint16_t>(random(kQueueSize + 2));
      }
      ring.available[1] = static_cast<uint16_t>(random(4) == 0 ? random() : ring.available[1] + random(4));
      at(device, kQueueNotify) = static_cast<uint32_t>(random(8) == 0 ? awkward() : queue);
    }
  }
}

size_t find(uint32_t id) {
  for (size_t device = 0; device < kWindows; device++) {
    if (at(device, kDeviceId) == id) return device;
  }
  say("hostile: a device is missing\n");
  power_off();
}

constexpr size_t kFsQueue = 1;

// Sends one FUSE request whose body is in place. Returns its error, or 1 if there is no answer.
int request(size_t device, fuse::Opcode opcode, uint64_t node, size_t body) {
  auto& header = *reinterpret_cast<fuse::InHeader*>(sent);
  header = {.len = static_cast<uint32_t>(sizeof(header) + body),
            .opcode = static_cast<uint32_t>(opcode),
            .unique = 2,
            .nodeid = node,
            .uid = 0,
            .gid = 0,
            .pid = 1,
            .total_extlen = 0,
            .padding = 0};
  if (!exchange(device, kFsQueue, header.len, kBufferSize)) return 1;
  return reinterpret_cast<const fuse::OutHeader*>(received)->error;
}

template <typename T>
T& body(size_t offset = 0) {
  return *reinterpret_cast<T*>(sent + sizeof(fuse::InHeader) + offset);
}

size_t put_name(const char* name, size_t offset = 0) {
  size_t length = 0;
  do body<char>(offset + length) = name[length];
  while (name[length++] != '\0');
  return length;
}

bool start_session(size_t device) {
  bring_up(device);
  body<fuse::InitIn>() = {.major = fuse::kMajor, .minor = fuse::kMinor, .max_readahead = 0, .flags = 0};
  return request(device, fuse::Opcode::init, 0, sizeof(fuse::InitIn)) == 0;
}

const void* answer() {
  return received + sizeof(fuse::OutHeader);
}

// Sends requests with any opcode, node, handle and size.
void confuse_files(size_t device, uint64_t rounds) {
  constexpr const char* kNames[] = {"file", "dir", ".", "..", "", "a/b", "/", "../outside", "link"};
  for (uint64_t i = 0; i < rounds; i++) {
    for (size_t k = 0; k < 128; k += 8) body<uint64_t>(k) = random(2) == 0 ? random(8) : awkward();
    size_t size = random(160);
    if (random(2) == 0) size = put_name(kNames[random(sizeof(kNames) / sizeof(kNames[0]))], random(5) * 8) + 32;
    auto opcode = static_cast<fuse::Opcode>(random(fuse::kOpcodeCount + 2));
    // What may wait for ever is for a driver with more than one request.
    if (opcode == fuse::Opcode::setlkw) continue;
    bool unanswered = opcode == fuse::Opcode::forget || opcode == fuse::Opcode::batch_forget ||
                      opcode == fuse::Opcode::interrupt || opcode == fuse::Opcode::destroy;
    int error = request(device, opcode, random(4) == 0 ? awkward() : random(12), size);
    if (error == 1 && !unanswered) return say("hostile: the file server does not answer\n");
    if (!start_session(device)) return say("hostile: the file server does not start again\n");
  }
}

// Opens one file until the host allows no more. Keeps every handle.
void open_without_end(size_t device) {
  if (!start_session(device)) return say("hostile: no session\n");
  if (request(device, fuse::Opcode::lookup, fuse::kRootId, put_name("file")) != 0) return say("hostile: no file\n");
  uint64_t node = *static_cast<const uint64_t*>(answer());  // EntryOut begins with it
  for (unsigned count = 0; count < 100'000; count++) {
    body<fuse::OpenIn>() = {.flags = 0, .open_flags = 0};
    if (request(device, fuse::Opcode::open, node, sizeof(fuse::OpenIn)) < 0) return say("hostile: no more files\n");
  }
  say("hostile: files without end\n");
}

// Sends packets from any port to any port, which promise any room and carry any length.
void confuse_sockets(size_t device, uint64_t rounds) {
  constexpr size_t kTransmit = 1;
  bring_up(device);
  for (uint64_t i = 0; i < rounds; i++) {
    auto& header = *reinterpret_cast<vsock::Header*>(sent);
    header = {};
    header.src_cid = random(4) == 0 ? awkward() : 3;
    header.dst_cid = random(4) == 0 ? awkward() : 2;
    header.src_port = static_cast<uint32_t>(random(2) == 0 ? random(8) : awkward());
    header.dst_port = static_cast<uint32_t>(random(2) == 0 ? 1024 : awkward());
    header.len = static_cast<uint32_t>(random(2) == 0 ? random(256) : awkward());
    header.type = static_cast<uint16_t>(random(8) == 0 ? awkward() : 1);
    header.op = static_cast<vsock::Op>(random(10));
    header.flags = static_cast<uint32_t>(random(4));
    header.buf_alloc = static_cast<uint32_t>(awkward());
    header.fwd_cnt = static_cast<uint32_t>(awkward());
    if (!exchange(device, kTransmit, sizeof(header) + random(256), 0, kLittlePatience)) bring_up(device);
  }
}

// Sends frames of any size with any header (virtio 1.3, 5.1.6). Each chain has to come back.
void confuse_frames(size_t device, uint64_t rounds) {
  constexpr size_t kTransmit = 1;
  bring_up(device);
  for (uint64_t i = 0; i < rounds; i++) {
    auto* words = reinterpret_cast<uint32_t*>(sent);
    for (size_t k = 0; k < 3; k++) words[k] = static_cast<uint32_t>(random(2) == 0 ? random(8) : awkward());
    size_t size = random(random(4) == 0 ? kBufferSize : 200);
    if (!exchange(device, kTransmit, size, 0)) return say("hostile: a frame does not come back\n");
  }
}

// Asks for memory of any address and size.
void confuse_memory(size_t device, uint64_t rounds) {
  bring_up(device);
  const auto* config = reinterpret_cast<const volatile uint64_t*>(kWindow + device * kWindowSize + kConfig);
  for (uint64_t i = 0; i < rounds; i++) {
    auto* words = reinterpret_cast<uint64_t*>(sent);
    words[0] = random(6);  // virtio 1.3, 5.15.6.1: type, padding
    words[1] = random(2) == 0 ? config[2] + random(64) * config[0] : awkward();
    words[2] = random(2) == 0 ? random(4) : awkward();
    if (!exchange(device, 0, 24, 16, kLittlePatience)) bring_up(device);
  }
}

uint64_t number(const char*& text) {
  uint64_t value = 0;
  while (*text == ' ') text++;
  for (; *text >= '0' && *text <= '9'; text++) value = value * 10 + static_cast<uint64_t>(*text - '0');
  return value;
}

}  // namespace

// What compilers call.
extern "C" void* memset(void* target, int value, size_t size) {
  void* start = target;
  asm volatile("rep stosb" : "+D"(target), "+c"(size) : "a"(value) : "memory");
  return start;
}

extern "C" void* memcpy(void* target, const void* source, size_t size) {
  void* start = target;
  asm volatile("rep movsb" : "+D"(target), "+S"(source), "+c"(size) : : "memory");
  return start;
}

extern "C" [[noreturn]] void guest_main(const unsigned char* zero_page) {
  constexpr size_t kCommandLinePointer = 0x228;  // in struct boot_params
  map_4_gib();
  const char* words =
      reinterpret_cast<const char*>(uintptr_t{*reinterpret_cast<const uint32_t*>(zero_page + kCommandLinePointer)});
  seed = number(words) | 1;
  uint64_t rounds = number(words);
  size_t files = find(kFsDevice), sockets = find(kVsockDevice), memory = find(kMemDevice), network = find(kNetDevice);
  confuse_registers(rounds * 4);
  say("hostile: registers\n");
  confuse_rings(rounds / 8);
  say("hostile: rings\n");
  if (start_session(files)) confuse_files(files, rounds);
  say("hostile: requests\n");
  open_without_end(files);
  confuse_sockets(sockets, rounds);
  say("hostile: packets\n");
  confuse_frames(network, rounds);
  say("hostile: frames\n");
  confuse_memory(memory, rounds);
  say("hostile: memory\n");
  // After all that, an honest guest is served.
  bool served = start_session(files) && request(files, fuse::Opcode::lookup, fuse::kRootId, put_name("file")) == 0;
  say(served ? "hostile: done\n" : "hostile: nothing is served any more\n");
  power_off();
}

asm(R"(
    .globl _start
_start:
    lea stack_top(%rip), %rsp
    mov %rsi, %rdi
    call guest_main

    .bss
    .balign 16
    .skip 65536
stack_top:
    .text
)");
