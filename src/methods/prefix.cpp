/// Trainable key/value pairs in front of the keys and values of every layer.     [Li and Liang 2021, arXiv:2101.00190]
///
/// Attention of sequence b, layer l: K = [ Kpre_k,l ; k_b ], V = [ Vpre_k,l ; v_b ]; queries unchanged, text positions start at P.
/// sharing [arXiv:2410.02200]                                               trainable numbers, Y = G D, E hidden width
///   none    prefix_key, prefix_value [K,L,P,Y]                              2 L P Y
///   simple  both are the layer's frozen maps of prefix_rows [K,L,P,C]       L P C
///   deep    a network of prefix_rows: tanh(p W1 + b1) W2 + b2
///           per_layer: p [K,L,P,C], one network for each layer              L (P C + C E + E + 2 E Y + 2 Y)
///           all_layers: p [K,P,C], columns in the order (L, {K,V}, G, D)    P C + C E + E + 2 E L Y + 2 L Y
///           single: tanh(p W + b)
/// Not the identity at the start: a zero prefix adds P keys of score 0. The file holds peft's prompt_embeddings [P, 2 L Y]: row 2l the
/// keys of layer l, row 2l+1 its values, whatever made them.

#include "peft/base/summaries.h"
#include "src/methods/prefix_method.h"

namespace peft {
namespace {

const bool prefix_registered = methods().add(
    "prefix", {[] { return std::make_unique<PrefixConfig>(); },
               [](Transformer& model, const BankSpec& bank) { return std::make_unique<PrefixMethod>(model, bank); },
               recognise_prefix,
               import_prefix,
               {"prompt_embeddings"}});

[[maybe_unused]] const bool prefix_described =
    summaries("method").add("prefix", {"key/value pairs in front of those of every layer", "2101.00190, 2410.02200"});

}  // namespace
}  // namespace peft
