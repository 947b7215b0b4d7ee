// Tested by tests/hub_hostile_test.cpp.
//
// Apart because <linux/tcp.h>, which alone has the counters, does not go with <netinet/tcp.h>.

#include "hub/server/unread_bytes.hpp"

#include <linux/sockios.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

namespace hub {

std::size_t unread_bytes(int descriptor) {
    int bytes = 0;
    if (::ioctl(descriptor, SIOCOUTQ, &bytes) != 0 || bytes < 0) return 0;
    return static_cast<std::size_t>(bytes);
}

std::optional<std::uint64_t> taken_bytes(int descriptor) {
    tcp_info info{};
    socklen_t size = sizeof info;
    constexpr socklen_t known = offsetof(tcp_info, tcpi_bytes_acked) + sizeof info.tcpi_bytes_acked;
    if (::getsockopt(descriptor, IPPROTO_TCP, TCP_INFO, &info, &size) != 0 || size < known)
        return std::nullopt;
    return info.tcpi_bytes_acked;
}

void bound_unsent_bytes(int descriptor, int bytes) {
    ::setsockopt(descriptor, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &bytes, sizeof bytes);
}

}  // namespace hub
