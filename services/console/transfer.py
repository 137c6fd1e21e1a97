"""`autoresearch transfer`: which ideas hold on other hardware."""

from services.console.options import AsJson, Local


def transfer(local: Local = False, json: AsJson = False) -> None:
    """Show what each idea gains on its parent on every machine that ran both, and whether machines agree."""
    from dataclasses import asdict

    from rich.table import Table
    from rich.text import Text

    from services.console import looking
    from services.console.research import place
    from shared.research.transfer import ranks, transferred

    where = place(local)
    known = where.known()
    found = transferred(known, lambda key: looking.noise_of(where, known, key))
    agreed = ranks(found)
    if json:
        return looking.print_json({"ideas": [one.as_json() for one in found], "ranks": [asdict(one) for one in agreed]})
    if not found:
        return print("no idea was run beside its parent on two machines yet: submit one with two --target")
    table = Table("idea", "said", "hardware key", "gain", "z", "tokens / parent's", "what", box=None, pad_edge=False)
    for one in found:
        for gain in one.gains:
            z, tokens = ("-" if value is None else f"{value:.2f}" for value in (gain.z, gain.tokens))
            note = Text(one.idea.note)
            table.add_row(one.idea.id, one.said, gain.key.hardware_key, f"{gain.effect:+.6f}", z, tokens, note)
    looking.wide().print(table)
    for pair in agreed:
        print(
            f"{pair.first} and {pair.second} order {pair.num_ideas} ideas alike to tau {pair.tau:.2f} (p {pair.p:.2f})"
        )
    return None
