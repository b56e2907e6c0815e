// SPDX-License-Identifier: Apache-2.0
// Empty: a target that compiles a header needs a source.
