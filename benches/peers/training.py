"""Training steps of the networks of `cargo bench --bench roofline`, and the forward pass of one, by
PyTorch: the works that `peers.py` times, and their right answers in numpy."""

import numpy as np

from contrastive import contrastive, random, torch_contrastive


class Step:
    """A training step of a network on pairs of images; compared is its loss before the step."""

    def __init__(self, pairs):
        self.x = random(2 * pairs, 1, self.side, self.side)
        self.similar = np.arange(pairs) % 2 == 0

    def expected(self, parameters):
        z = self.forward(self.x.astype(np.float64), *parameters)
        a, b = np.split(z, 2)
        value, _ = contrastive(np.linalg.norm(a - b, axis=1), self.similar, 1.0)
        return [value.mean()]


class PaperStep(Step):
    side = 32

    @staticmethod
    def layers(torch):
        nn = torch.nn
        return [nn.Conv2d(1, 15, 6), nn.Tanh(), Subsample(torch, 15, 3), nn.Tanh(), nn.Conv2d(15, 30, 9),
                nn.Tanh(), nn.Flatten(), nn.Linear(30, 2)]

    @staticmethod
    def forward(x, c1, b1, s2, t2, c3, b3, f4, b4):
        x = np.tanh(convolve(x, c1, b1))
        x = np.tanh(s2 * average(x, 3) + t2)
        x = np.tanh(convolve(x, c3, b3))
        return x.reshape(len(x), -1) @ f4.T + b4


class LenetStep(Step):
    side = 28

    @staticmethod
    def layers(torch):
        nn = torch.nn
        return [nn.Conv2d(1, 20, 5), nn.AvgPool2d(2), nn.Conv2d(20, 50, 5), nn.AvgPool2d(2),
                nn.Flatten(), nn.Linear(800, 500), nn.ReLU(), nn.Linear(500, 10), nn.Linear(10, 2)]

    @staticmethod
    def forward(x, c1, b1, c2, b2, f1, g1, f2, g2, f3, g3):
        x = average(convolve(x, c1, b1), 2)
        x = average(convolve(x, c2, b2), 2)
        x = (x.reshape(len(x), -1) @ f1.T + g1).clip(0)
        return (x @ f2.T + g2) @ f3.T + g3


class DenseStep(Step):
    side = 28

    @staticmethod
    def layers(torch):
        nn = torch.nn
        return [nn.Flatten(), nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 128), nn.ReLU(),
                nn.Linear(128, 2)]

    @staticmethod
    def forward(x, f1, g1, f2, g2, f3, g3):
        x = (x.reshape(len(x), -1) @ f1.T + g1).clip(0)
        x = (x @ f2.T + g2).clip(0)
        return x @ f3.T + g3


class Forward(PaperStep):
    """The embedding of images by the paper's network."""

    def __init__(self, images):
        self.x = random(images, 1, self.side, self.side)

    def expected(self, parameters):
        return [self.forward(self.x.astype(np.float64), *parameters)]


def convolve(x, weights, bias):
    windows = np.lib.stride_tricks.sliding_window_view(x, weights.shape[2:], axis=(2, 3))
    return np.einsum("nchwyx,kcyx->nkhw", windows, weights, optimize=True) + bias[:, None, None]


def average(x, size):
    n, c, h, w = x.shape
    h, w = h // size, w // size
    x = x[:, :, : h * size, : w * size]
    return x.reshape(n, c, h, size, w, size).mean(axis=(3, 5))


def Subsample(torch, maps, size):
    """Average pooling with a factor and a bias for each map."""
    nn = torch.nn

    class Subsample(nn.Module):
        def __init__(self):
            super().__init__()
            self.factor = nn.Parameter(torch.ones(maps, 1, 1))
            self.bias = nn.Parameter(torch.zeros(maps, 1, 1))

        def forward(self, x):
            return nn.functional.avg_pool2d(x, size) * self.factor + self.bias

    return Subsample()


def network(work, torch):
    """And its parameters as they are now, for numpy."""
    torch.manual_seed(1)
    net = torch.nn.Sequential(*work.layers(torch))
    work.parameters = [p.detach().double().numpy().copy() for p in net.parameters()]
    return net


def torch_step(work, torch, optimise):
    net, x = network(work, torch), torch.from_numpy(work.x)
    similar = torch.from_numpy(work.similar)
    sgd = torch.optim.SGD(net.parameters(), lr=1e-4)

    def loss(x):
        a, b = net(x).chunk(2)
        distance = torch.linalg.vector_norm(a - b, dim=1)
        return torch_contrastive(torch, distance, similar, 1.0).mean()

    loss = optimise(loss)

    def call():
        sgd.zero_grad()
        value = loss(x)
        value.backward()
        sgd.step()
        return [value]

    return call


def torch_forward(work, torch, optimise):
    net, x = optimise(network(work, torch).eval()), torch.from_numpy(work.x)

    def call():
        with torch.inference_mode():
            return [net(x)]

    return call
