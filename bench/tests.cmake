# SPDX-License-Identifier: MIT
#
# The tests of the benchmark, label "bench". Both build what they need by themselves, optimised and
# without asserts, so they are the same from every preset.
set(bench_folder ${CMAKE_CURRENT_LIST_DIR})

# A fixed amount of work takes no more instructions than it did.
find_program(HF_VALGRIND valgrind)
if(HF_VALGRIND)
    add_test(NAME bench_instructions COMMAND sh ${bench_folder}/instructions.sh
        ${CMAKE_BINARY_DIR}/bench/instructions)
    set_tests_properties(bench_instructions PROPERTIES
        LABELS bench TIMEOUT 600 SKIP_RETURN_CODE 77)
endif()

# The command works.
add_test(NAME bench_quick COMMAND sh ${bench_folder}/quick_test.sh ${CMAKE_BINARY_DIR}/bench/quick)
set_tests_properties(bench_quick PROPERTIES LABELS bench TIMEOUT 900)
