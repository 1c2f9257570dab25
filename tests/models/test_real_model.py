"""SmolLM2-135M-Instruct by its recipe."""

import json

import pytest

import fdiv_gym as fg
from fdiv_gym.models import ChatEncoder, ModelConfig, load_model, load_tokenizer, model_source


@pytest.mark.slow
def test_the_recipe_gives_the_model_it_names(smollm2):
    assert model_source(ModelConfig(name_or_path="smollm2-135m-instruct"), None) == str(smollm2)
    model = load_model("smollm2-135m-instruct")
    assert sum(weights.numel() for weights in model.parameters()) == 134_515_008
    assert (model.config.num_hidden_layers, model.config.hidden_size) == (30, 576)
    assert json.loads((smollm2 / "provenance.json").read_text())["quantization"] == "Q4_1"
    tokenizer = load_tokenizer("smollm2-135m-instruct")
    prompt = tokenizer.decode(ChatEncoder(tokenizer).prompt("What is 2 + 2?"))
    assert prompt.endswith("<|im_start|>user\nWhat is 2 + 2?<|im_end|>\n<|im_start|>assistant\n")
    engine = fg.get_engine("transformers")
    engine.start(model, tokenizer)
    prompt = ChatEncoder(tokenizer).prompt("What is the capital of France?")
    ((answer,),) = engine.generate([prompt], 1, fg.Sampling(max_new_tokens=16, temperature=0, seed=0))
    assert "Paris" in answer.text
