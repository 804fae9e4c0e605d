"""The memory of training, by hand for one small shape."""

from pkt_bench.domain import Architecture
from pkt_bench.memory import training_bytes

# d 10, f 20, 3 layers, 2 heads of 5, 1 key-value head of 5, 100 tokens in the vocabulary, tied
SHAPE = Architecture("llama", 10, 20, 3, 2, 1, 5, 100, 64, tied=True)
# q 10 x 10, k and v 5 x 10, o 10 x 10, three of 10 x 20; and the embedding
PARAMETERS = 3 * (100 + 50 + 50 + 100 + 600) + 1000


def test_all_weights_without_checkpointing():
    found = training_bytes(SHAPE, pass_tokens=7)

    # a token keeps 8 d + 4 q + 4 kv + 4 f = 80 + 40 + 20 + 80 numbers in a layer
    assert found.activations == 3 * 220 * 7 * 4
    assert found.logits == 5 * 100 * 7 * 4
    assert found.weights == found.gradients == PARAMETERS * 4
    assert found.optimiser == PARAMETERS * 8
    assert found.peak == PARAMETERS * 12 + max(found.activations + found.logits, PARAMETERS * 4)


def test_checkpointing_keeps_a_layers_input_and_one_whole_layer():
    found = training_bytes(SHAPE, pass_tokens=7, checkpointing=True, number_bytes=2)

    assert found.activations == (3 * 10 + 220) * 7 * 2


def test_an_adapter_needs_gradients_and_moments_of_its_own_numbers_alone():
    found = training_bytes(SHAPE, trainable=60, pass_tokens=7)

    assert (found.gradients, found.optimiser) == (240, 480)
