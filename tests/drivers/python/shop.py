"""What the applications in Python share: they run their parts one after another and print what each gave."""

from checklist import arguments, said, value

given = arguments()


def cells(rows):
    return [[value(cell) for cell in row] for row in rows]


def run(parts, errors):
    """`parts` by name; each gives what is to be compared."""
    for name, part in parts.items():
        try:
            answer = part()
        except errors as error:
            answer = {"error": [type(error).__name__, str(error)]}
        said("shop " + name, steps=[{"rows": answer} if isinstance(answer, list) else answer])
