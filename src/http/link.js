/* crosslink: a click on a link to an allowed destination goes through /go, a form too. The page stays as it is. */
(() => {
  "use strict";
  const own = document.currentScript;
  // It may be an image of that name.
  if (!(own instanceof HTMLScriptElement)) return;
  const go = own.src.replace(/\/link\.js([?#].*)?$/, "");
  let entries = [];
  fetch(go + "/pairs.json", { credentials: "omit" })
    .then((answer) => answer.json())
    .then((texts) => (entries = texts))
    .catch(() => {}); // Then links are plain.

  // Some browsers keep an `xn--` that stands for nothing.
  const labels = /^((?!xn--.{0,2}(\.|$))[\w-]+(\.|$))+$/;
  const admits = (entry, url) => {
    const [, scheme, wild, host, path] = /^(https?:)\/\/(\*)?([^/]*)(.*)$/.exec(entry);
    return url.protocol === scheme
      && (wild ? url.host.endsWith(host) && url.hostname.length < 254 && labels.test(url.hostname) : url.host === host)
      && (!path || ((url.pathname + "/").startsWith(path + "/") && !/\/\/|[;\\]|%2f|%5c/i.test(url.pathname)));
  };
  const routed = (url) =>
    !url.username && !url.password && url.href.length <= 4096 && entries.some((entry) => admits(entry, url))
    && go + "?to=" + encodeURIComponent(url.href);
  const parse = (href) => {
    try {
      return new URL(href, document.baseURI);
    } catch {
      return new URL("about:blank");
    }
  };

  // Another value, until the browser has followed it.
  const lend = (element, name, value) => {
    const own = element.getAttribute(name);
    element.setAttribute(name, value);
    setTimeout(() => {
      if (element.getAttribute(name) !== value) return;
      if (own === null) element.removeAttribute(name);
      else element.setAttribute(name, own);
    });
  };

  const click = (event) => {
    // With Alt it is a download, with the right button a menu.
    if (event.defaultPrevented || event.altKey || event.button > 1) return;
    const link = event.composedPath().find((node) => /^(a|area)$/.test(node.localName) && node.hasAttribute("href"));
    if (!link || link.hasAttribute("download")) return;
    const to = routed(parse(link.getAttribute("href")));
    if (to) lend(link, "href", to);
  };

  const submit = (event) => {
    if (event.defaultPrevented) return;
    const form = event.target;
    const button = event.submitter;
    const said = (name) => (button && button.getAttribute("form" + name)) || form.getAttribute(name) || "";
    const method = said("method").toLowerCase();
    const url = parse(said("action"));
    const [element, name] = button && button.hasAttribute("formaction") ? [button, "formaction"] : [form, "action"];
    if (method === "post") {
      const to = routed(url);
      if (to) lend(element, name, to);
    } else if (method !== "dialog" && !form.elements.namedItem("to")) {
      // The fields replace it.
      url.search = "";
      if (!routed(url)) return;
      const to = document.createElement("input");
      to.type = "hidden";
      to.name = "to";
      to.value = url.href;
      lend(element, name, go);
      form.append(to);
      setTimeout(() => to.remove());
    }
  };

  // The page's own listeners come first.
  addEventListener("click", click);
  addEventListener("auxclick", click);
  addEventListener("submit", submit);

  window.crosslink = { url: (href) => routed(parse(href)) || href };
})();
