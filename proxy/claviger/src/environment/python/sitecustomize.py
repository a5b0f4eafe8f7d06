"""Imported by Python before a program (it is the first `sitecustomize` on PYTHONPATH), so that clients which ignore the
usual variables take the proxy and its certificate too: urllib3 without requests, aiohttp, and those that bring their own
certificates (certifi, stripe). A library is touched when the program imports it, never before; nothing is printed; what
goes wrong here is left alone. The `sitecustomize` that would have been found otherwise runs as well.
"""

import io
import os
import sys


def _bootstrap():
    here = os.path.dirname(os.path.abspath(__file__))
    bundle = os.environ.get("SSL_CERT_FILE")

    def with_certifi(module):
        def where():
            return bundle

        def contents():
            with io.open(bundle, encoding="ascii") as file:
                return file.read()

        for part in (module, sys.modules.get("certifi.core")):
            if bundle and part is not None:
                part.where, part.contents = where, contents

    def with_stripe(module):
        if bundle:
            module.ca_bundle_path = bundle

    def with_aiohttp(module):
        session = module.ClientSession
        original = session.__init__

        def __init__(self, *args, **kwargs):
            kwargs["trust_env"] = True
            original(self, *args, **kwargs)

        __init__.__wrapped__ = original
        session.__init__ = __init__

    def with_urllib3(module):
        # requests, botocore and others ask a manager for connections, and choose the proxy themselves; `urlopen` is
        # what a program calls that uses urllib3 alone.
        from urllib.parse import unquote, urlsplit
        from urllib.request import getproxies_environment, proxy_bypass_environment

        manager = module.PoolManager
        original = manager.urlopen

        def proxied(self, url):
            parts = urlsplit(url)
            proxies = getproxies_environment()
            proxy = proxies.get(parts.scheme)
            if not proxy or not parts.hostname or proxy_bypass_environment(parts.netloc.rpartition("@")[2], proxies):
                return None
            known = self.__dict__.get("_claviger")
            if known is None or known[0] != proxy:
                at = urlsplit(proxy)
                headers = None
                if at.username:
                    who = "%s:%s" % (unquote(at.username), unquote(at.password or ""))
                    headers = module.make_headers(proxy_basic_auth=who)
                address = "%s://%s" % (at.scheme, at.netloc.rpartition("@")[2])
                options = dict(self.connection_pool_kw)
                through = module.ProxyManager(address, headers=self.headers, proxy_headers=headers, **options)
                known = self.__dict__["_claviger"] = (proxy, through)
            return known[1]

        def urlopen(self, method, url, redirect=True, **kw):
            through = proxied(self, url) if type(self) is manager and self.proxy is None else None
            if through is not None:
                through.headers = self.headers
                return through.urlopen(method, url, redirect=redirect, **kw)
            return original(self, method, url, redirect=redirect, **kw)

        urlopen.__wrapped__ = original
        manager.urlopen = urlopen

    hooks = {"certifi": with_certifi, "stripe": with_stripe, "aiohttp": with_aiohttp, "urllib3": with_urllib3}

    class Loader(object):
        """The loader of a module, which tells us when it has been executed."""

        def __init__(self, loader, hook):
            self._loader, self._hook = loader, hook

        def __getattr__(self, name):
            return getattr(self._loader, name)

        def create_module(self, spec):
            return self._loader.create_module(spec)

        def exec_module(self, module):
            # What asks the module for its loader is to find its own.
            module.__spec__.loader = module.__loader__ = self._loader
            self._loader.exec_module(module)
            try:
                self._hook(module)
            except Exception:
                pass

    class Finder(object):
        """Finds a module as all the others do, and stands between its loader and it."""

        def find_spec(self, name, path=None, target=None):
            hook = hooks.get(name)
            if hook is None:
                return None
            for finder in list(sys.meta_path):
                find = getattr(finder, "find_spec", None)
                spec = find(name, path, target) if find is not None and finder is not self else None
                if spec is not None:
                    if hasattr(spec.loader, "exec_module"):
                        hooks.pop(name)
                        spec.loader = Loader(spec.loader, hook)
                    return spec
            return None

    def chain():
        from importlib.machinery import PathFinder
        from importlib.util import module_from_spec

        def is_other(folder):
            return os.path.abspath(folder or os.getcwd()) != here

        spec = PathFinder.find_spec("sitecustomize", [folder for folder in sys.path if is_other(folder)])
        if spec is None or spec.loader is None:
            return
        module = module_from_spec(spec)
        sys.modules["sitecustomize"] = module
        spec.loader.exec_module(module)

    if not any(type(finder).__name__ == "ClavigerFinder" for finder in sys.meta_path):
        Finder.__name__ = "ClavigerFinder"
        sys.meta_path.insert(0, Finder())
    # Its errors are its own: Python reports them as it would without us.
    chain()


if sys.version_info >= (3, 8):
    _bootstrap()
