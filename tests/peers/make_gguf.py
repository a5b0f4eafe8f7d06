"""Writes a language model that is small enough to make on the spot: random weights, two blocks, bytes as its vocabulary.

What it says is noise; what the tests need is that llama.cpp loads it and serves its real APIs with it.
Usage: make_gguf.py FILE
"""

import sys

import gguf
import numpy

EMBEDDING, FEED_FORWARD, BLOCKS, HEADS, CONTEXT = 64, 128, 2, 4, 1024
CONTROL = ["<unk>", "<s>", "</s>"]
# A conversation is handed to the model as its bare text: a template is only there because the chat API wants one.
CHAT_TEMPLATE = "{% for message in messages %}{{ message['role'] }}: {{ message['content'] }}\n{% endfor %}assistant: "


def add_vocabulary(writer):
    kinds = gguf.TokenType
    rows = [(text, kinds.UNKNOWN if text == "<unk>" else kinds.CONTROL) for text in CONTROL]
    rows += [(f"<0x{byte:02X}>", kinds.BYTE) for byte in range(256)]
    rows += [("\u2581", kinds.NORMAL)] + [(chr(code), kinds.NORMAL) for code in range(33, 127)]
    writer.add_tokenizer_model("llama")
    writer.add_token_list([text.encode() for text, _ in rows])
    writer.add_token_scores([-float(index) for index in range(len(rows))])
    writer.add_token_types([kind for _, kind in rows])
    writer.add_unk_token_id(0)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_chat_template(CHAT_TEMPLATE)
    return len(rows)


def add_weights(writer, vocabulary):
    random = numpy.random.default_rng(7)

    def tensor(name, *shape):
        writer.add_tensor(name, random.normal(0, 0.05, shape).astype(numpy.float32))

    def ones(name):
        writer.add_tensor(name, numpy.ones(EMBEDDING, dtype=numpy.float32))

    tensor("token_embd.weight", vocabulary, EMBEDDING)
    for block in range(BLOCKS):
        for part in ("attn_norm", "ffn_norm"):
            ones(f"blk.{block}.{part}.weight")
        for part in ("attn_q", "attn_k", "attn_v", "attn_output"):
            tensor(f"blk.{block}.{part}.weight", EMBEDDING, EMBEDDING)
        for part in ("ffn_gate", "ffn_up"):
            tensor(f"blk.{block}.{part}.weight", FEED_FORWARD, EMBEDDING)
        tensor(f"blk.{block}.ffn_down.weight", EMBEDDING, FEED_FORWARD)
    ones("output_norm.weight")
    tensor("output.weight", vocabulary, EMBEDDING)


def main(path):
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name("tiny")
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(EMBEDDING)
    writer.add_block_count(BLOCKS)
    writer.add_feed_forward_length(FEED_FORWARD)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_rope_dimension_count(EMBEDDING // HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    vocabulary = add_vocabulary(writer)
    writer.add_vocab_size(vocabulary)
    add_weights(writer, vocabulary)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


if __name__ == "__main__":
    main(sys.argv[1])
