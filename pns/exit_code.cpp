// Tested by tests/hub_process_test.cpp.

#include "pns/exit_code.hpp"

#include <cerrno>
#include <cstdio>
#include <string>
#include <system_error>

namespace pns {

int exit_code_after_output(int code) {
    errno = 0;
    const bool out = std::fflush(stdout) == 0 && std::ferror(stdout) == 0;
    if (out || code != exit_done) return code;
    const std::string why =
        errno == 0 ? "an earlier write failed" : std::generic_category().message(errno);
    std::fprintf(stderr, "what was printed did not get out: %s\n", why.c_str());
    return exit_failed;
}

}  // namespace pns
