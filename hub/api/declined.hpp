#pragma once

// The answer to a send that was not taken up (hub/send/admission.hpp).

#include "hub/api/handlers.hpp"
#include "hub/send/admission.hpp"

namespace hub {

Response refused(const Request& request, const Admission::Declined& why);

}  // namespace hub
