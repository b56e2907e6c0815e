// SPDX-License-Identifier: Apache-2.0
// The runtime's unit tests are one program: see the *_test.cc beside the code.
#define BOOST_TEST_MODULE runtime
#include <boost/test/unit_test.hpp>
