#pragma once

// With what every verb of the program ends; docs/operations.md tells it to operators.

namespace pns {

enum ExitCode : int {
    exit_done = 0,
    exit_failed = 1,        ///< it was tried and did not work, or was refused
    exit_usage = 2,         ///< arguments, settings or environment are wrong: nothing was tried
    exit_unreachable = 3,   ///< the hub gave no answer
    exit_undelivered = 4,   ///< `sends watch`: the send has ended and reached nobody, or was ended
    exit_interrupted = 130  ///< a second signal while the process was stopping
};

/// The code with which a process ends that was to end with `code`: exit_failed, with a line on
/// stderr, if it was done but what it printed did not get out (a full disk, a pipe that is gone).
int exit_code_after_output(int code);

}  // namespace pns
