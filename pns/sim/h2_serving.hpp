#pragma once

// One HTTP/2 connection of a simulator: reads, answers, counts what the peer does wrong, and does
// wrong itself what the faults say. Belongs to its loop.

#include <array>
#include <deque>
#include <functional>
#include <limits>
#include <map>

#include "pns/h2_session.hpp"
#include "pns/sim/frames.hpp"
#include "pns/sim/serving.hpp"

namespace pns::sim {

/// The limit of the session beneath, so high that it enforces nothing: a peer that goes over the
/// offered limit is to be seen here.
inline constexpr std::uint32_t streams_unbounded = 1U << 30;

class H2Serving final : public Connection, private H2Events {
  public:
    H2Serving(Loop& loop, TlsStream& stream, const Arrival& arrival);
    ~H2Serving();
    H2Serving(const H2Serving&) = delete;
    H2Serving& operator=(const H2Serving&) = delete;

    Task<void> run();
    void on_event(const Event& event) override;

  private:
    static H2Limits limits(const Habits& habits);
    Task<void> read_loop();
    Task<void> write_loop();
    void wake_writer();
    void close();
    std::int64_t tick();

    bool on_request_headers(std::int32_t stream, const H2Message& message) override;
    void on_message(std::int32_t stream, const H2Message& message) override;
    void on_lost(std::int32_t stream, const H2Lost& lost) override;
    void on_pong() override;

    void saw(const FrameHead& head);    ///< every frame of the peer
    void groom(std::size_t from);       ///< our frames in out_ before they are written
    std::uint32_t streams_max() const;  ///< what is offered to a peer in good standing
    void offer(std::uint32_t streams);  ///< SETTINGS_MAX_CONCURRENT_STREAMS
    std::uint32_t allowed() const;      ///< the most that the peer may believe in
    /// `last` -1: the last stream whose headers came. Streams above it are not processed, also
    /// those that were read together with what this is the answer to.
    void go_away(std::uint32_t code, std::string_view debug, std::int32_t last = -1);
    void take_acks(std::int32_t before);  ///< of SETTINGS, seen before that stream began
    void happened(std::string what);

    /// After its delay.
    void send_in_time(std::int32_t stream, Reply reply);
    void send(std::int32_t stream, const Reply& reply);
    void record_if_watched(const Request& request);
    void submit(std::int32_t stream, const Reply& reply);
    void after(std::int64_t ms, std::function<void()> act);
    // h2_faults.cpp
    void strike_connection(const Fault& fault);
    bool strike_arrival(const Fault& fault, std::int32_t stream);  ///< true: no answer follows
    bool strike_answer(const Fault& fault, std::int32_t stream, const Reply& reply);
    void strike_goaway(const Fault& fault, std::int32_t stream);
    void strike_settings(const Fault& fault);
    void drip(std::int32_t stream, std::string rest, std::int64_t ms);

    Loop& loop_;
    TlsStream& stream_;
    FaultHit fault_;  ///< of the connection
    Habits habits_;
    Alarm alarm_;
    Nursery nursery_;
    SteadyTimer wake_, deaf_wait_;
    H2Session session_;
    Visit visit_;
    FrameScan scan_;
    std::multimap<std::int64_t, std::pair<std::int32_t, Reply>> late_;
    std::multimap<std::int64_t, std::function<void()>> actions_;
    std::map<std::int32_t, bool> cancelled_;  ///< streams to answer once the peer has given up
    std::deque<std::uint32_t> offers_;        ///< not yet written
    std::deque<std::uint32_t> unacked_;       ///< written; one per SETTINGS frame
    std::deque<bool> pings_;                  ///< in flight: true = tells that a GOAWAY was seen
    std::array<std::uint8_t, 16 * 1024> in_;  // one TLS record
    std::vector<std::uint8_t> out_;
    std::string raw_;  ///< goes out before anything else
    std::vector<H2Header> headers_;
    std::int64_t used_ms_ = system_clock().steady_ms(), began_ms_ = system_clock().steady_ms();
    std::int64_t held_until_ms_ = 0;  ///< nothing is written before
    std::uint32_t offered_ = 0, acknowledged_ = 0xffffffff;
    std::uint32_t pings_in_row_ = 0;
    std::deque<std::int32_t> acks_;  ///< of SETTINGS, not yet counted: the last stream before each
    std::int32_t stream_last_ = 0, headers_last_ = 0, taken_last_ = 0;
    std::int32_t refused_above_ = std::numeric_limits<std::int32_t>::max();  ///< said in GOAWAY
    bool writer_idle_ = false, closed_ = false, broken_ = false;
    bool deaf_ = false;       ///< reads and writes nothing
    bool mute_ = false;       ///< answers nothing
    bool hold_open_ = false;  ///< does not close when all is done
    bool close_after_raw_ = false;
    bool no_window_updates_ = false;
    bool goaway_seen_ = false;  ///< by the peer
    bool given_up_ = false;     ///< the peer sent GOAWAY
};

}  // namespace pns::sim
