"""Never comes back."""


def rmsnorm(x):
    while True:
        pass
