// SPDX-License-Identifier: Apache-2.0
// Fuzzes what each end of the protocol does with bytes of the other end: the decoder of frames, and every message.
//
// The first byte of the input says how the other bytes are taken. If bit 0 is set, they are a stream of frames. If not,
// they are the JSON of one message, which gets its length here. Bit 6 chooses the large limits of the decoder. Half of
// the first byte, rounded down, is the size of the pieces in which the bytes arrive; 0 means all at once. Whatever can
// be decoded must mean the same once it is encoded and decoded again.
#include <algorithm>
#include <span>
#include <string>

#include "tests/fuzz/answer.h"

namespace {

using namespace nacre;
using namespace nacre::protocol;

template <typename Message>
void look_at(const Json& json) {
  auto message = decode<Message>(json);
  if (!message) return;
  Json again = encode(*message);
  auto twice = decode<Message>(again);
  fuzz::check(twice && encode(*twice) == again, "a message does not read as it was written");
}

template <typename... Messages>
void look_at_all(const Json& json) {
  (look_at<Messages>(json), ...);
}

// Looks at a message as every kind of message: its "type" is no more to be trusted than the rest.
void take(const Json& json) {
  look_at_all<Create, Start, Exec, Release, Resize, Kill, State, Delete, Pause, Resume, Processes, Procfs, Statistics,
              Watch, Update, Mount, Unmount>(json);
  look_at_all<Ok, ErrorReply, Created, StateReply, ProcessesReply, ProcfsReply, StatisticsReply>(json);
  look_at_all<Exited, Oom, Ready>(json);
  (void)decode_reply<Created>(json);
  // If the message can be made a frame again, the frame must not be too large. to_frame() may refuse the message, since
  // replacing bytes that are not UTF-8 makes it grow.
  if (auto frame = to_frame(json)) fuzz::check(frame->size() <= kMaxFrame + 4, "a frame is larger than its limit");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const uint8_t first = data[0];
  std::string rest = fuzz::Input(data + 1, size - 1).text();
  std::string stream = first & 1 ? rest : fuzz::framed(rest);
  size_t step = first < 2 ? std::max<size_t>(stream.size(), 1) : first / 2;
  Decoder decoder(first & 64 ? kLarge : kSmall);
  for (size_t at = 0; at < stream.size(); at += step) {
    decoder.append(std::as_bytes(std::span(stream).subspan(at, std::min(step, stream.size() - at))));
    for (;;) {
      auto message = decoder.next();
      if (!message) return 0;
      if (message->is_null()) break;
      take(*message);
    }
  }
  return 0;
}
