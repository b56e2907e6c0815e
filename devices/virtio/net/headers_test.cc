// SPDX-License-Identifier: Apache-2.0
#include "devices/virtio/net/headers.h"

#include <boost/test/unit_test.hpp>
#include <cstring>

namespace nacre::virtio::net::headers_test {
namespace {

constexpr uint64_t kAll = kFeatureCsum | kFeatureGuestCsum | kFeatureHostTso4 | kFeatureHostTso6 | kFeatureHostEcn |
                          kFeatureHostUso | kFeatureGuestTso4 | kFeatureGuestTso6 | kFeatureGuestEcn |
                          kFeatureGuestUso4 | kFeatureGuestUso6;

constexpr Header kTso{.flags = kNeedsCsum,
                      .gso_type = kGsoTcp4,
                      .hdr_len = 54,
                      .gso_size = 1448,
                      .csum_start = 34,
                      .csum_offset = 16,
                      .num_buffers = 0};

Header with(auto change) {
  Header header = kTso;
  change(header);
  return header;
}

bool may_send(Header header, size_t size = 4000, uint64_t features = kAll) {
  return prepare_to_send(header, size, features);
}
bool may_deliver(Header header, uint64_t features = kAll) {
  return prepare_to_deliver(header, features);
}

BOOST_AUTO_TEST_SUITE(headers)

BOOST_AUTO_TEST_CASE(sizes_of_frames) {
  for (size_t size : {size_t{0}, size_t{1}, kMinFrame - 1, kMaxFrame + 1, size_t{1} << 32})
    BOOST_TEST(!may_send({}, size));
  for (size_t size : {kMinFrame, size_t{60}, kMaxFrame}) BOOST_TEST(may_send({}, size));
}

BOOST_AUTO_TEST_CASE(checksums_lie_within_the_frame) {
  Header header{};
  header.flags = kNeedsCsum;
  header.csum_start = 34;
  header.csum_offset = 16;
  BOOST_TEST(may_send(header, 52));
  BOOST_TEST(!may_send(header, 51));
  header.csum_start = header.csum_offset = UINT16_MAX;
  BOOST_TEST(!may_send(header, kMaxFrame));
  header = {.flags = 0,
            .gso_type = 0,
            .hdr_len = 0,
            .gso_size = 0,
            .csum_start = 9999,
            .csum_offset = 9999,
            .num_buffers = 0};
  BOOST_TEST(may_send(header, 60));  // they mean nothing
}

BOOST_AUTO_TEST_CASE(segmentation_makes_sense) {
  BOOST_TEST(may_send(kTso));
  BOOST_TEST(may_send(with([](Header& h) { h.gso_type = kGsoTcp6; })));
  BOOST_TEST(may_send(with([](Header& h) { h.gso_type = kGsoTcp4 | kGsoEcn; })));
  BOOST_TEST(may_send(with([](Header& h) { h.gso_type = kGsoUdp; })));
  BOOST_TEST(may_send(with([](Header& h) { h.hdr_len = 4000; })));
  BOOST_TEST(!may_send(with([](Header& h) { h.hdr_len = 4001; })));
  BOOST_TEST(!may_send(with([](Header& h) { h.gso_size = 0; })));
  BOOST_TEST(!may_send(with([](Header& h) { h.flags = 0; })));
  for (int type : {2, 3, 6, 7, 0x80, 0x83, 0x85, 0x41, 0xff}) {
    BOOST_TEST(!may_send(with([&](Header& h) { h.gso_type = static_cast<uint8_t>(type); })), type);
  }
}

BOOST_AUTO_TEST_CASE(what_the_driver_has_not_accepted_is_not_done) {
  BOOST_TEST(!may_send(kTso, 4000, kAll & ~kFeatureCsum));
  BOOST_TEST(!may_send(kTso, 4000, kAll & ~kFeatureHostTso4));
  BOOST_TEST(may_send(kTso, 4000, kFeatureCsum | kFeatureHostTso4));
  Header ecn = with([](Header& h) { h.gso_type = kGsoTcp6 | kGsoEcn; });
  BOOST_TEST(!may_send(ecn, 4000, kAll & ~kFeatureHostEcn));
  BOOST_TEST(!may_send(ecn, 4000, kAll & ~kFeatureHostTso6));
  BOOST_TEST(!may_send(with([](Header& h) { h.gso_type = kGsoUdp; }), 4000, kAll & ~kFeatureHostUso));
  BOOST_TEST(may_send({}, 60, 0));

  BOOST_TEST(may_deliver(kTso));
  BOOST_TEST(!may_deliver(kTso, kAll & ~kFeatureGuestCsum));
  BOOST_TEST(!may_deliver(kTso, kAll & ~kFeatureGuestTso4));
  BOOST_TEST(!may_deliver(with([](Header& h) { h.gso_type = kGsoTcp4 | kGsoEcn; }), kAll & ~kFeatureGuestEcn));
  BOOST_TEST(!may_deliver(with([](Header& h) { h.gso_type = kGsoUdp; }), kAll & ~kFeatureGuestUso6));
  BOOST_TEST(!may_deliver(with([](Header& h) { h.gso_type = 3; })));
  BOOST_TEST(may_deliver({}, 0));
}

BOOST_AUTO_TEST_CASE(only_what_means_something_goes_on) {
  Header header;
  std::memset(&header, 0xff, sizeof(header));
  header.flags = static_cast<uint8_t>(~kNeedsCsum);  // all that are not known
  header.gso_type = kGsoNone;
  BOOST_REQUIRE(prepare_to_send(header, 60, kAll));
  const Header none{};
  BOOST_TEST(std::memcmp(&header, &none, sizeof(header)) == 0);

  header = with([](Header& h) { h.num_buffers = 7; });
  BOOST_REQUIRE(prepare_to_send(header, 4000, kAll));
  BOOST_TEST(std::memcmp(&header, &kTso, sizeof(header)) == 0);

  header = {};
  header.flags = kDataValid | 4;
  BOOST_REQUIRE(prepare_to_deliver(header, kAll));
  BOOST_TEST(header.flags == kDataValid);
  BOOST_REQUIRE(prepare_to_deliver(header, 0));
  BOOST_TEST(header.flags == 0);
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace
}  // namespace nacre::virtio::net::headers_test
