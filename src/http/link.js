/* crosslink: at the click, links and forms to allowed destinations go through /go. */
(() => {
  "use strict";
  const own = document.currentScript;
  // Not an image of that name.
  if (!(own instanceof HTMLScriptElement)) return;
  // Whatever `base` says.
  const go = new URL(own.getAttribute("src"), location).href.replace(/\/link\.js([?#].*)?$/, "");
  let entries = [];
  fetch(go + "/pairs.json", { credentials: "omit" })
    .then((answer) => answer.json())
    .then((texts) => Array.isArray(texts) && (entries = texts))
    .catch(() => {});

  // An `xn--` may stand for nothing.
  const labels = /^((?!xn--.{0,2}(\.|$))[\w-]+(\.|$))+$/;
  const admits = (entry, url) => {
    const [, scheme, wild, host, path] = /^(https?:)\/\/(\*)?([^/]*)(.*)$/.exec(entry);
    return url.protocol === scheme
      && (wild ? url.host.endsWith(host) && url.hostname.length < 254 && labels.test(url.hostname) : url.host === host)
      && (!path || ((url.pathname + "/").startsWith(path + "/") && !/\/\/|[;\\]|%2f|%5c/i.test(url.pathname)));
  };
  const routed = (url) =>
    // Own links stay.
    url.host !== location.host && !url.username && !url.password && url.href.length <= 4096 && entries.some((entry) => admits(entry, url))
    && go + "?to=" + encodeURIComponent(url.href);
  const parse = (href) => {
    try {
      return new URL(href, document.baseURI);
    } catch {
      return new URL("about:");
    }
  };

  // Until the browser has followed it.
  const lend = (element, name, value) => {
    const own = element.getAttribute(name);
    element.setAttribute(name, value);
    setTimeout(() => {
      if (element.getAttribute(name) !== value) return;
      own === null ? element.removeAttribute(name) : element.setAttribute(name, own);
    });
  };

  const click = (event) => {
    // Alt downloads.
    if (event.defaultPrevented || event.altKey || event.button > 1) return;
    const link = event.composedPath().find((node) => /^(a|area)$/.test(node.localName) && node.hasAttribute("href"));
    if (!link || link.hasAttribute("download")) return;
    const to = routed(parse(link.href.baseVal ?? link.href));
    if (to) lend(link, "href", to);
  };

  const submit = (event) => {
    if (event.defaultPrevented) return;
    const form = event.target;
    const button = event.submitter;
    const said = (name) => button?.getAttribute("form" + name) ?? form.getAttribute(name) ?? "";
    const method = said("method").toLowerCase();
    const url = parse(said("action") || location);
    const [element, name] = button?.hasAttribute("formaction") ? [button, "formaction"] : [form, "action"];
    if (method === "post") {
      const to = routed(url);
      if (to) lend(element, name, to);
    } else if (method !== "dialog" && !form.elements.namedItem("to")) {
      url.search = "";
      if (!routed(url)) return;
      const to = document.createElement("input");
      to.type = "hidden";
      to.name = "to";
      to.value = url.href;
      lend(element, name, go);
      // A field may be named `append`.
      Element.prototype.append.call(form, to);
      setTimeout(() => to.remove());
    }
  };

  // The page's listeners come first.
  addEventListener("click", click);
  addEventListener("auxclick", click);
  addEventListener("submit", submit);

  window.crosslink = { url: (href) => routed(parse(href)) || href };
})();
