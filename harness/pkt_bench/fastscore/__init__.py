"""lm-eval's numbers for less work: what requests have in common is computed once.

    tree         the tokens of all requests as one tree, and the passes that compute each of its tokens once
    buffer       keys and values of the tokens computed so far, written in place
    engine       one row of many branches through a transformers model: masks, positions, logits where asked for
    likelihood   log-likelihoods of continuations over such a tree
    generation   greedy continuations of many contexts at once, over the same buffer
    families     which models the engine can run, and why not the others
    stops        when a generation ends
    memory       how much at once
    parity       a sample of the requests put to stock lm-eval as well
    lm           FastLM: lm-eval's HFLM with the above in its place

Only `scoring` imports this package: torch, transformers and lm-eval are imported with its modules.
"""
