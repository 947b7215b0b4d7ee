#pragma once

// A P-256 authority of our own, and the leaves that it signs: for a hub without an operator's
// certificate, for simulators, `pushhub dev` and tests. Any thread.

#include <string>
#include <vector>

#include "pns/task.hpp"

namespace pns {

struct CertificatePair {
    std::string certificate_pem;  ///< a leaf's is followed by its authority's
    std::string key_pem;          ///< PKCS#8
};

/// A new authority, valid from an hour ago for ten years. It signs leaves and no further authority.
/// With `names` (DNS names or address literals) it can vouch for nothing else (RFC 5280 4.2.1.10):
/// who trusts it for a hub trusts it for no other host, even if its key is stolen. A DNS name
/// stands for those below it, too. `any_address`: addresses are not bounded.
CertificatePair make_ca(const std::string& common_name = "pushhub throw-away CA",
                        const std::vector<std::string>& names = {}, bool any_address = false);

/// May a leaf of `ca` have all these names? An authority without constraints may.
bool may_sign(const CertificatePair& ca, const std::vector<std::string>& names);

struct LeafOptions {
    int valid_from_s = -3600, valid_until_s = 90 * 86'400;  ///< relative to now
    std::string
        subject_uid;  ///< subject UID beside the common name, as in APNs client certificates
};

/// A leaf for server and client authentication. `names` are DNS names or address literals; the
/// first is the common name.
CertificatePair make_leaf(const CertificatePair& ca, const std::vector<std::string>& names,
                          const LeafOptions& options = {});

}  // namespace pns
