#pragma once

// The addresses of one name, by c-ares: /etc/hosts, the name servers and search domains of
// /etc/resolv.conf, and localhost without asking anybody. Nothing blocks but the reading of these
// files; each lookup has sockets of its own, so that no name waits for another, and whoever has
// waited long enough destroys it. One thread at a time.

#include <boost/asio/ip/address.hpp>
#include <memory>
#include <string>
#include <vector>

namespace pns {

class NameLookup {
  public:
    /// Address literals (IPv6 without brackets) are their own address. `servers`: ADDRESS:PORT,...
    /// asked instead of the system's, for tests.
    explicit NameLookup(const std::string& host, const std::string& servers = {});
    ~NameLookup();

    /// Does what can be done now. True: the lookup has ended.
    bool step();
    /// Readable when step() has something to do, after step() was false; the lookup's own.
    int descriptor() const;
    /// After the end; empty: the name has no address, or no server gave one.
    const std::vector<boost::asio::ip::address>& addresses() const;

  private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

}  // namespace pns
