// SPDX-License-Identifier: Apache-2.0
#include "vmm/api/control.h"

#include <boost/test/unit_test.hpp>

using namespace nacre;
using namespace nacre::vmm;

namespace {

std::string error_of(std::string_view packet) {
  auto request = parse_request(packet);
  return request ? "no error" : request.error().message();
}

}  // namespace

BOOST_AUTO_TEST_CASE(requests_come_back) {
  for (const Resize& request : {Resize{}, Resize{.memory = 5}, Resize{.cpus = 3}, Resize{UINT64_MAX, UINT32_MAX}}) {
    auto read = parse_request(encode_request(request));
    BOOST_REQUIRE(read);
    const auto& resize = std::get<Resize>(*read);
    BOOST_TEST((resize.memory == request.memory && resize.cpus == request.cpus));
  }
  BOOST_TEST(std::holds_alternative<Hold>(parse_request(encode_request(Hold{})).value()));
  auto share = std::get<Share>(parse_request(encode_request(Share{.tag = "t", .name = "a-B_1+.:"})).value());
  BOOST_TEST(share.tag == "t");
  BOOST_TEST(share.name == "a-B_1+.:");
  auto unshare = std::get<Unshare>(parse_request(encode_request(Unshare{.tag = "t", .name = "a"})).value());
  BOOST_TEST((unshare.tag == "t" && unshare.name == "a"));
}

BOOST_AUTO_TEST_CASE(requests_that_make_no_sense) {
  BOOST_TEST(error_of("") == "unknown request");
  BOOST_TEST(error_of("resized memory=1") == "unknown request");
  BOOST_TEST(error_of("resize color=1") == "unknown word in a request to resize");
  for (const char* wrong : {"resize memory", "resize memory=", "resize memory=-1", "resize memory=1M",
                            "resize memory=18446744073709551616", "resize memory=1 memory="}) {
    BOOST_TEST(error_of(wrong) == "memory: not a number");
  }
  BOOST_TEST(error_of("resize cpus=4294967296") == "cpus: not a number");
  BOOST_TEST(error_of("hold it") == "unknown request");
  BOOST_TEST(error_of("share tag=t color=1") == "unknown word in a request to share");
  for (const char* name : {"", ".", "..", "a/b", "a\nb"}) {
    BOOST_TEST(error_of(std::string("share tag=t name=") + name) == "name: not a plain name");
  }
}

BOOST_AUTO_TEST_CASE(answers_come_back) {
  MachineSize size{.memory = 4, .present = 3, .max_memory = 5, .cpus = 1, .max_cpus = 2};
  auto read = parse_answer(encode_answer(size));
  BOOST_REQUIRE(read);
  BOOST_TEST(read->memory == 4u);
  BOOST_TEST(read->present == 3u);
  BOOST_TEST(read->max_memory == 5u);
  BOOST_TEST(read->cpus == 1u);
  BOOST_TEST(read->max_cpus == 2u);
  BOOST_TEST(parse_answer(encode_answer(fail("no, thanks"))).error().message() == "no, thanks");
  BOOST_TEST(encode_answer(fail(std::string(9999, 'x'))).size() == kMaxControlPacket);
  for (const char* wrong : {"", "siz", "size memory", "size memory=x"}) BOOST_TEST(!parse_answer(wrong).has_value());
}
