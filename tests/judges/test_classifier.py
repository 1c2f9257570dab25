import math

import pytest
import torch

import fdiv_gym as fg

TASK = fg.Task("is it ok?")


def tiny(folder, labels, bias=None):
    from transformers import BertConfig, BertForSequenceClassification

    from fdiv_gym.models.embedded import character_tokenizer

    tokenizer = character_tokenizer()
    config = BertConfig(
        vocab_size=len(tokenizer), hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32,
        max_position_embeddings=64, num_labels=len(labels), id2label=dict(enumerate(labels)),
        label2id={name: i for i, name in enumerate(labels)}, pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip
    torch.manual_seed(0)
    model = BertForSequenceClassification(config)
    if bias is not None:
        with torch.no_grad():
            model.classifier.weight.zero_()
            model.classifier.bias.copy_(torch.tensor(bias))
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder), model.eval(), tokenizer


def test_probabilities_of_a_classifier(tmp_path):
    folder, _, _ = tiny(tmp_path / "m", ["safe", "harmful"], [math.log(3.0), 0.0])
    judge = fg.get_judge("classifier", model=folder, label="safe")
    verdict = judge.judge_batch([TASK], ["yes"])[0]
    assert verdict.score == pytest.approx(0.75, abs=1e-6)
    assert verdict.components == {
        "label/safe": pytest.approx(0.75, abs=1e-6),
        "label/harmful": pytest.approx(0.25, abs=1e-6),
    }
    inverted = fg.get_judge("classifier", model=folder, label="1", invert=True)
    assert inverted.judge_batch([TASK], ["yes"])[0].score == pytest.approx(0.75, abs=1e-6)


def test_the_logit_of_a_reward_model(tmp_path):
    folder, _, _ = tiny(tmp_path / "m", ["reward"], [-2.0])
    verdict = fg.get_judge("classifier", model=folder).judge_batch([TASK], ["yes"])[0]
    assert verdict.components == {"logit": pytest.approx(-2.0)}
    assert verdict.score == pytest.approx(1 / (1 + math.exp(2.0)))


@pytest.mark.parametrize("template", [None, "{prompt} -> {response}"])
def test_batches_agree_with_one_at_a_time_and_with_a_plain_forward_pass(tmp_path, template):
    folder, model, tokenizer = tiny(tmp_path / "m", ["reward"])
    responses = ["a", "quite a long response", "", "another", "zz", "yes"]
    judge = fg.get_judge("classifier", model=folder, batch_size=2, cache=False, template=template)
    together = [v.components["logit"] for v in judge.judge_batch([TASK] * 6, responses)]
    for response, logit in zip(responses, together, strict=True):
        texts = (TASK.prompt, response) if template is None else (f"{TASK.prompt} -> {response}",)
        with torch.no_grad():
            expected = model(**tokenizer(*texts, return_tensors="pt")).logits.item()
        assert logit == pytest.approx(expected, abs=1e-5)


def test_another_model_in_the_same_folder_is_not_read_from_the_cache(tmp_path):
    folder, _, _ = tiny(tmp_path / "m", ["reward"], [1.0])
    first = fg.get_judge("classifier", model=folder)
    first.judge_batch([TASK], ["a"])
    again = fg.get_judge("classifier", model=folder, batch_size=3)
    again.judge_batch([TASK], ["a"])
    assert again.usage.cached == 1
    tiny(tmp_path / "m", ["reward"], [2.0])
    other = fg.get_judge("classifier", model=folder)
    assert other.judge_batch([TASK], ["a"])[0].components["logit"] == pytest.approx(2.0)


def test_inputs_are_cut_to_the_positions_of_the_model(tmp_path):
    folder, model, tokenizer = tiny(tmp_path / "m", ["reward"])
    judge = fg.get_judge("classifier", model=folder, template="{response}", max_tokens=512)
    verdict = judge.judge_batch([TASK], ["abc " * 100])[0]
    with torch.no_grad():
        cut = tokenizer("abc " * 100, truncation=True, max_length=64, return_tensors="pt")
        assert verdict.components["logit"] == pytest.approx(model(**cut).logits.item(), abs=1e-5)


def test_output_that_is_not_finite_is_unscorable(tmp_path):
    folder, _, _ = tiny(tmp_path / "m", ["reward"], [float("nan")])
    verdict = fg.get_judge("classifier", model=folder).judge_batch([TASK], ["a"])[0]
    assert verdict.status is fg.Status.UNSCORABLE


def test_wrong_models_and_labels_are_refused(tmp_path):
    folder, _, _ = tiny(tmp_path / "m", ["safe", "harmful"])
    with pytest.raises(fg.ConfigError, match=r"give label, one of \['safe', 'harmful'\]"):
        fg.get_judge("classifier", model=folder)
    with pytest.raises(fg.ConfigError, match="no label 'good'"):
        fg.get_judge("classifier", model=folder, label="good")
    with pytest.raises(fg.JudgeError, match="cannot load"):
        fg.get_judge("classifier", model=str(tmp_path / "absent"))
    with pytest.raises(fg.ConfigError, match=r"must contain \{response\}"):
        fg.get_judge("classifier", model=folder, template="{prompt}")


@pytest.mark.slow
def test_a_trained_classifier_judges_refusals(tmp_path):
    folder, model, tokenizer = tiny(tmp_path / "m", ["helps", "refuses"])
    env = fg.make("safety/Refusal-v0")
    rng = __import__("numpy").random.default_rng(0)
    optimizer = torch.optim.AdamW(model.train().parameters(), lr=3e-3)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, 400)
    for _ in range(400):
        prompts, responses = zip(*env.demonstrations(32, rng), strict=True)
        labels = torch.tensor([int(r.startswith("no")) for r in responses])
        encoded = tokenizer(list(prompts), list(responses), padding=True, return_tensors="pt")
        loss = model(**encoded, labels=labels).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    model.save_pretrained(folder)
    judge = fg.get_judge("classifier", model=folder, label="refuses")
    tasks = env.task_list("heldout")[:100]
    refusals, help_ = judge.judge_batch(tasks, ["no, sorry"] * 100), judge.judge_batch(tasks, ["ok, red box"] * 100)
    assert sum(v.score > 0.5 for v in refusals) >= 98
    assert sum(v.score < 0.5 for v in help_) >= 98
