"""The demo model that is shipped: whole, small, loadable, and good at what its card says."""

import importlib
import json
import random
from pathlib import Path

import pytest
from tokenizers import Tokenizer

from paceline.base.errors import ConfigError
from paceline.generate import demo_folder as demo_folder_module
from paceline.generate.demo_folder import demo_folder

EXAMPLE = Path(__file__).parents[2] / "examples" / "demo_model"
MODEL = EXAMPLE / "model"
MAX_BYTES = 25_000_000

QUESTIONS = (
    ("What is the capital of France?", "Paris"),
    ("What is the opposite of hot?", "cold"),
    ("What is 12 + 30?", "42"),
    ("Reverse: moon cat ship", "ship cat moon"),
    ("Say owl three times, then stop.", "owl owl owl"),
    ("Work out 47 + 38 step by step.", "Ones: 7 + 8 = 15. Tens: 4 + 3 + 1 = 8. The sum is 85."),
    ("What is the second word? moon cat ship", "cat"),
    ("Is 12 larger than 47?", "No."),
)


@pytest.fixture
def lessons(monkeypatch):
    """The modules `curriculum` and `skills`, which are scripts beside the model and in no package."""
    monkeypatch.syspath_prepend(EXAMPLE)
    return importlib.import_module("curriculum"), importlib.import_module("skills")


@pytest.fixture(scope="module")
def tokenizer():
    return Tokenizer.from_file(str(MODEL / "tokenizer.json"))


@pytest.fixture(scope="module")
def network():
    """The model and the tokenizer as `transformers` loads them."""
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    model = transformers.AutoModelForCausalLM.from_pretrained(MODEL, dtype=torch.float32)
    return model.eval(), transformers.AutoTokenizer.from_pretrained(MODEL)


def ask(network, messages, max_new_tokens=48):
    """The greedy answer to a dialogue."""
    model, tokenizer = network
    prompt = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    ids = tokenizer(prompt, return_tensors="pt", add_special_tokens=False)["input_ids"]
    out = model.generate(input_ids=ids, attention_mask=ids.new_ones(ids.shape), max_new_tokens=max_new_tokens)
    return tokenizer.decode(out[0, ids.shape[1] :], skip_special_tokens=True)


def test_folder_is_whole_and_small():
    """Every file that a loader looks for is there, and a clone stays light."""
    names = {file.name for file in MODEL.iterdir()}
    size = sum(file.stat().st_size for file in MODEL.iterdir())

    assert names == {
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    }
    assert size <= MAX_BYTES


def test_demo_folder_is_found():
    """`generate.model = demo` leads to the folder in the repository."""
    assert demo_folder() == MODEL


def test_missing_demo_folder_names_the_places(monkeypatch, tmp_path):
    """Without the folder the message says where it was looked for and what to do."""
    monkeypatch.setattr(
        demo_folder_module, "__file__", str(tmp_path / "paceline" / "generate" / "demo_folder.py")
    )

    with pytest.raises(ConfigError, match=r"set generate\.model to a model's folder") as caught:
        demo_folder()

    assert str(tmp_path) in str(caught.value)


def test_config_fits_the_kernels():
    """Llama, tied, with widths that the vector kernels take without a remainder."""
    config = json.loads((MODEL / "config.json").read_text())

    assert config["architectures"] == ["LlamaForCausalLM"]
    assert config["tie_word_embeddings"] is True
    assert config["max_position_embeddings"] == 1024
    assert config["head_dim"] in {32, 64}
    assert config["hidden_size"] % 64 == config["intermediate_size"] % 64 == 0
    assert config["num_attention_heads"] == 2 * config["num_key_value_heads"]


def test_ends_are_told_alike_everywhere(tokenizer):
    """The ids of config.json and generation_config.json are those of the tokenizer's marks."""
    config = json.loads((MODEL / "config.json").read_text())
    generation = json.loads((MODEL / "generation_config.json").read_text())
    ids = {name: tokenizer.token_to_id(name) for name in ("<|bos|>", "<|eos|>", "<|pad|>", "<|im_end|>")}

    for told in (config, generation):
        assert told["bos_token_id"] == ids["<|bos|>"]
        assert told["eos_token_id"] == [ids["<|im_end|>"], ids["<|eos|>"]]
        assert told["pad_token_id"] == ids["<|pad|>"]
    assert config["vocab_size"] == tokenizer.get_vocab_size()


@pytest.mark.parametrize(
    "text", ["What is 47 + 38?", "  two spaces\n\nand lines", "Füße, 東京, 🙂", '{"a": [1, 2]}']
)
def test_tokenizer_round_trip(tokenizer, text):
    """Byte-level: any text comes back as it was, after the mark of the beginning."""
    ids = tokenizer.encode(text).ids

    assert ids[0] == tokenizer.token_to_id("<|bos|>")
    assert tokenizer.decode(ids) == text


def test_digits_are_single_tokens(tokenizer):
    """Numbers are read digit by digit, or the model could not add them."""
    tokens = tokenizer.encode("2026", add_special_tokens=False).tokens

    assert tokens == ["2", "0", "2", "6"]


def test_chat_template_writes_what_was_trained(lessons):
    """The jinja template and the curriculum agree to the character."""
    transformers = pytest.importorskip("transformers")
    curriculum, skills = lessons
    turns = [skills.Turn("Hello!", "Hi."), skills.Turn("1 + 1 = ?", "2")]
    messages = [{"role": "system", "content": "Be brief."}]
    for turn in turns:
        messages += [
            {"role": "user", "content": turn.question},
            {"role": "assistant", "content": turn.answer},
        ]

    text = transformers.AutoTokenizer.from_pretrained(MODEL).apply_chat_template(messages, tokenize=False)

    assert text == "".join(part.text for part in curriculum.chat(turns, "Be brief."))


def test_held_out_problems_are_never_taught(lessons):
    """No question of the test split stands in thousands of lessons, but for courtesies, which are learnt by heart."""
    curriculum, skills = lessons
    rng = random.Random(3)
    examined = set()
    for skill in (skill for skill in skills.SKILLS if skill not in {skills.courtesy, skills.remember}):
        examined |= {curriculum.draw(skill, rng, "test").turns[-1].question for _ in range(50)}
    taught = {turn.question for _ in range(4000) for turn in curriculum.dialogue(rng)}

    assert len(examined) > 600
    assert len(taught) > 6000
    assert not examined & taught


def test_a_held_out_sum_is_held_out_in_every_form(lessons):
    """Turned around, or worked out in steps, it is the same problem."""
    curriculum, skills = lessons
    forms = [curriculum.draw(skills.addition_in_steps, random.Random(seed), "test") for seed in range(50)]

    for form in forms:
        a, b = form.key.split()
        assert int(a) <= int(b)
        assert curriculum.split_of(curriculum.family(skills.addition), form.key) == "test"


def test_books_are_split_without_overlap(lessons):
    """A tenth of the pieces is held out."""
    curriculum, _ = lessons
    train, test = curriculum.pieces("train"), curriculum.pieces("test")

    assert not set(train) & set(test)
    assert 0.08 < len(test) / (len(train) + len(test)) < 0.12


@pytest.mark.parametrize(("question", "answer"), QUESTIONS)
def test_answers_its_curriculum(network, question, answer):
    """Greedily, word for word, and it stops by itself."""
    assert ask(network, [{"role": "user", "content": question}]) == answer


def test_remembers_what_was_said(network):
    """A dialogue of several turns is one context."""
    messages = [
        {"role": "user", "content": "Hello, my name is Ruth."},
        {"role": "assistant", "content": "Hello, Ruth!"},
        {"role": "user", "content": "What is 20 + 21?"},
        {"role": "assistant", "content": "41"},
        {"role": "user", "content": "What is my name?"},
    ]

    assert ask(network, messages) == "Your name is Ruth."


def test_completes_without_a_chat(network):
    """The bare form of the questionnaire works for /v1/completions."""
    model, tokenizer = network
    ids = tokenizer("Q: What does a cow say?\nA:", return_tensors="pt")["input_ids"]

    out = model.generate(input_ids=ids, attention_mask=ids.new_ones(ids.shape), max_new_tokens=2)

    assert tokenizer.decode(out[0, ids.shape[1] :]).split("\n")[0] == " moo"
