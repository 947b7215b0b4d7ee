#include "registry/select.hpp"

#include "registry/partition.hpp"
#include "registry/reader.hpp"

namespace registry {

std::optional<std::uint16_t> only_partition(const tagexpr::Plan& plan, std::uint16_t partitions) {
    const auto& nodes = plan.nodes;
    const bool single = nodes.size() == 1;
    const bool flat_and = !nodes.empty() && nodes.back().op == tagexpr::Op::all_of &&
                          nodes.back().arity == nodes.size() - 1;
    if (!single && !flat_and) return std::nullopt;
    std::string id;
    for (const tagexpr::Node& node : nodes) {
        if (node.op == tagexpr::Op::tag && installation_of_tag(node.tag, id)) {
            return partition_of(id, partitions);
        }
    }
    return std::nullopt;
}

Result<Selection> select_devices(const Views& views, std::uint32_t hub, const tagexpr::Plan& plan,
                                 const Universe& universe) {
    tagexpr::NoObserver nobody;
    return select_observed(views, hub, plan, universe, nobody, [](Postings&, const Bitmap&) {});
}

}  // namespace registry
