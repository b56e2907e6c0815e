// SPDX-License-Identifier: Apache-2.0
#define BOOST_TEST_MODULE protocol
#include "guest-init/protocol/frame.h"

#include <sys/socket.h>

#include <boost/test/unit_test.hpp>
#include <thread>

#include "base/fd.h"

using namespace nacre;
using namespace nacre::protocol;

namespace {

std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text));
}

std::string frame_of(std::string_view body) {
  std::string frame;
  for (size_t i = 0; i < 4; i++) frame += static_cast<char>(body.size() >> (8 * i));
  return frame + std::string(body);
}

Result<Json> decode_frame(std::string_view bytes) {
  Decoder decoder;
  decoder.append(bytes_of(bytes));
  return decoder.next();
}

}  // namespace

BOOST_AUTO_TEST_CASE(a_frame_is_a_little_endian_length_and_json) {
  auto frame = to_frame(Json{{"type", "ok"}});
  BOOST_REQUIRE(frame);
  BOOST_TEST(*frame == std::string("\x0d\0\0\0", 4) + R"({"type":"ok"})");
}

BOOST_AUTO_TEST_CASE(messages_come_whole_however_the_bytes_are_cut) {
  std::string stream = *to_frame(Json{{"type", "a"}, {"text", std::string(300, 'x')}}) + *to_frame(Json{{"type", "b"}});
  for (size_t step : {1u, 2u, 3u, 7u, 64u, 1000u}) {
    Decoder decoder;
    std::vector<std::string> types;
    for (size_t at = 0; at < stream.size(); at += step) {
      decoder.append(bytes_of(std::string_view(stream).substr(at, step)));
      for (;;) {
        auto message = decoder.next();
        BOOST_REQUIRE(message);
        if (message->is_null()) break;
        types.push_back((*message)["type"]);
      }
    }
    BOOST_TEST(types == (std::vector<std::string>{"a", "b"}), boost::test_tools::per_element());
  }
}

BOOST_AUTO_TEST_CASE(bad_frames_are_final_errors) {
  Decoder decoder;
  decoder.append(bytes_of(std::string_view("\x01\0\0\x01", 4)));  // 16 MiB + 1
  BOOST_TEST(!decoder.next());
  decoder.append(bytes_of(*to_frame(Json{{"type", "ok"}})));
  BOOST_TEST(!decoder.next());

  BOOST_TEST(!decode_frame(frame_of("{\"type\":")));
  BOOST_TEST(!decode_frame(frame_of("[1]")));
  BOOST_TEST(!decode_frame(frame_of("{}")));
  BOOST_TEST(!decode_frame(frame_of("{\"type\":1}")));
  BOOST_TEST(!decode_frame(frame_of("")));
  BOOST_TEST(!decode_frame(frame_of("{\"type\":\"\xff\"}")));
  BOOST_TEST(!decode_frame(frame_of("{\"type\":\"a\"} x")));
}

BOOST_AUTO_TEST_CASE(nesting_is_bounded_and_brackets_in_strings_do_not_count) {
  auto nested = [](size_t depth) {
    return R"({"type":"a","v":)" + std::string(depth, '[') + std::string(depth, ']') + "}";
  };
  BOOST_TEST(decode_frame(frame_of(nested(63))).has_value());
  BOOST_TEST(!decode_frame(frame_of(nested(64))));
  BOOST_TEST(!decode_frame(frame_of(nested(4'000'000))));
  BOOST_TEST(decode_frame(frame_of(R"({"type":"a","v":")" + std::string(500, '[') + R"(\"[["})")).has_value());
}

BOOST_AUTO_TEST_CASE(text_that_is_not_utf8_can_be_sent) {
  auto frame = to_frame(Json{{"type", "error"}, {"message", "bad\xff"}});
  BOOST_REQUIRE(frame);
  BOOST_TEST(decode_frame(*frame).has_value());
}

BOOST_AUTO_TEST_CASE(a_reader_that_allows_less_refuses_more) {
  auto refuses = [](Limits limits, std::string_view body) {
    Decoder decoder(limits);
    decoder.append(bytes_of(frame_of(body)));
    return !decoder.next();
  };
  BOOST_TEST(!refuses({.bytes = 20}, R"({"type":"ok"})"));
  BOOST_TEST(refuses({.bytes = 12}, R"({"type":"ok"})"));
  BOOST_TEST(!refuses({.values = 6}, R"({"type":"ok","v":[1,2]})"));
  BOOST_TEST(refuses({.values = 6}, R"({"type":"ok","v":[1,2,{}]})"));
  // The length alone is enough: nobody waits for what would be refused.
  Decoder decoder(kSmall);
  decoder.append(bytes_of(std::string_view("\0\0\x20\0", 4)));  // 2 MiB
  BOOST_TEST(!decoder.next());
}

// As a tree these 16 MiB would take some 600 MiB.
BOOST_AUTO_TEST_CASE(a_message_of_very_many_values_is_refused_before_it_is_built) {
  std::string body = R"({"type":"processes","processes":[{"":0})";
  while (body.size() < (4 << 20) - 100) body += R"(,{"":0})";
  body += "]}";
  Decoder decoder(kLarge);
  decoder.append(bytes_of(frame_of(body)));
  auto message = decoder.next();
  BOOST_REQUIRE(!message);
  BOOST_TEST(message.error().message().contains("values"));
}

BOOST_AUTO_TEST_CASE(a_text_takes_no_more_than_is_said) {
  for (const std::string& text : {std::string("plain"), std::string("\"\\/"), std::string("\0\x1f\n\x7f", 4),
                                  std::string("\xff\xc3\x80 \xc3\xa4 \xf0\x9f\x98\x80 \xe2")}) {
    auto frame = to_frame(Json(text));
    BOOST_REQUIRE(frame);
    BOOST_TEST(frame->size() - 4 <= encoded_size(text));
  }
}

BOOST_AUTO_TEST_CASE(send_and_receive_move_large_messages) {
  auto pair = make_socketpair(SOCK_STREAM);
  BOOST_REQUIRE(pair);
  Json message = {{"type", "large"}, {"text", std::string(3 << 20, 'y')}};
  std::thread sender([&] {
    BOOST_TEST(protocol::send(pair->first.get(), message).has_value());
    pair->first.reset();
  });
  auto received = receive(pair->second.get());
  auto end = receive(pair->second.get());
  sender.join();
  BOOST_REQUIRE(received);
  BOOST_TEST((*received == message));
  BOOST_TEST(!end);
  BOOST_TEST(!protocol::send(pair->second.get(), message));  // the peer is gone: no SIGPIPE
}

BOOST_AUTO_TEST_CASE(a_peer_that_does_not_read) {
  auto pair = make_socketpair(SOCK_STREAM);
  BOOST_REQUIRE(pair);
  const Json small{{"type", "x"}}, large{{"type", "x"}, {"text", std::string(4 << 20, 'x')}};
  BOOST_TEST(protocol::send(pair->first.get(), small, 0).has_value());
  for (int timeout_ms : {0, 20}) {
    auto sent = protocol::send(pair->first.get(), large, timeout_ms);
    BOOST_REQUIRE(!sent);
    BOOST_TEST(sent.error().code() == ETIMEDOUT);
  }
}

BOOST_AUTO_TEST_CASE(an_oversized_message_is_not_encoded) {
  BOOST_TEST(!to_frame(Json{{"type", "a"}, {"text", std::string(kMaxFrame, 'z')}}));
}
