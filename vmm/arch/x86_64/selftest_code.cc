// SPDX-License-Identifier: Apache-2.0
#include "vmm/arch/x86_64/selftest_code.h"

extern "C" const std::byte nacre_check_guest_start[];
extern "C" const std::byte nacre_check_guest_end[];

// Entered in long mode with low memory mapped one to one and interrupts off; RSI points at a page that is free to use.
// clang-format off
asm(R"(
    .section .rodata
    .global nacre_check_guest_start, nacre_check_guest_end
    .macro step number
        mov $\number, %al
        mov $0x500, %edx
        out %al, %dx
    .endm
nacre_check_guest_start:
    mov %rsi, %r15                  # scratch page
    lea 4096(%r15), %rsp

    step 1
    mov $1, %eax
    cpuid
    mov %ecx, %r14d                 # feature bits

    step 2
    xor %eax, %eax
    xor %edx, %edx
    mov $1, %ebx
    xor %ecx, %ecx
    movq $0, (%r15)
    movq $0, 8(%r15)
    lock cmpxchg16b (%r15)

    step 3
    fxsave 512(%r15)
    fxrstor 512(%r15)

    bt $26, %r14d                   # XSAVE
    jnc 1f
    step 4
    mov %cr4, %rax
    or $0x40000, %rax               # OSXSAVE
    mov %rax, %cr4
    xor %ecx, %ecx
    xor %edx, %edx
    mov $3, %eax                    # x87 and SSE
    xsetbv
    mov $3, %eax
    xor %edx, %edx
    lea 1024(%r15), %rdi
    xsave (%rdi)
    xrstor (%rdi)
1:
    step 5
    lea breakpoint(%rip), %rax
    lea 2048(%r15), %rdi            # interrupt table, vector 3
    mov %ax, 48(%rdi)
    movw $0x10, 50(%rdi)
    movw $0x8e00, 52(%rdi)
    shr $16, %rax
    mov %ax, 54(%rdi)
    movq $0, 56(%rdi)
    movw $63, 3072(%r15)
    mov %rdi, 3074(%r15)
    lidt 3072(%r15)
    int3

    step 6
    swapgs
    swapgs

    step 7
    invlpg (%r15)
    mov %cr3, %rax
    mov %rax, %cr3

    step 8
    rdtsc

    step 0xff
2:  hlt
    jmp 2b

breakpoint:
    iretq
nacre_check_guest_end:
    .previous
)");
// clang-format on

namespace nacre::vmm::x86_64 {

std::span<const std::byte> selftest_code() {
  return {nacre_check_guest_start, nacre_check_guest_end};
}

}  // namespace nacre::vmm::x86_64
