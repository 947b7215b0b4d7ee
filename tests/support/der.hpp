#pragma once

// ASN.1 by hand (X.690 10.1), for files that no library would write.

#include <cstddef>
#include <string>
#include <string_view>

namespace support {

inline std::string der(unsigned char tag, std::string_view content) {
    std::string out(1, static_cast<char>(tag));
    if (content.size() < 128) {
        out += static_cast<char>(content.size());
    } else {
        std::string length;
        for (std::size_t left = content.size(); left > 0; left >>= 8)
            length.insert(length.begin(), static_cast<char>(left & 0xff));
        out += static_cast<char>(0x80 | length.size());
        out += length;
    }
    return out.append(content);
}

}  // namespace support
