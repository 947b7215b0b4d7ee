// Tested by tests/hub_audience_test.cpp.

#include "registry/reader.hpp"
#include "registry/select.hpp"

namespace registry {
namespace {

/// Adds up what each node of the plan gives and takes, over all partitions.
class NodeFigures {
  public:
    NodeFigures(const AudienceQuery& query, std::vector<Audience::Node>& nodes)
        : query_(query), nodes_(nodes) {
        if (query.clock_ns) nodes_.resize(query.plan.nodes.size());
    }
    void begin() {
        if (query_.clock_ns) last_ns_ = query_.clock_ns();
    }
    void produced(std::size_t node, const PostingSet& set) {
        if (!query_.clock_ns) return;
        nodes_[node].devices += set.cardinality();
    }
    void combined(std::size_t node) {
        if (!query_.clock_ns) return;
        const std::int64_t now_ns = query_.clock_ns();
        nodes_[node].spent_ns += now_ns - last_ns_;
        last_ns_ = now_ns;
    }

  private:
    const AudienceQuery& query_;
    std::vector<Audience::Node>& nodes_;
    std::int64_t last_ns_ = 0;
};

}  // namespace

Result<Audience> count_audience(const Views& views, std::uint32_t hub, const AudienceQuery& query) {
    Audience audience;
    for (const std::string& platform : query.platforms)
        audience.platforms.push_back({platform, 0, 0});
    NodeFigures figures(query, audience.nodes);
    figures.begin();
    const auto count = [&](Postings& postings, const Bitmap& matches) {
        for (Audience::ByPlatform& row : audience.platforms) {
            const auto native = postings.internal(platform_name(row.platform, false));
            const auto templated = postings.internal(platform_name(row.platform, true));
            row.native += matches.and_cardinality(native.bitmap());
            row.templated += matches.and_cardinality(templated.bitmap());
        }
        figures.begin();
    };
    auto selection = select_observed(views, hub, query.plan, query.universe, figures, count);
    if (!selection) return selection.error();
    audience.selection = std::move(*selection);
    return audience;
}

}  // namespace registry
