// Stands in for the KISSmetrics script: every visitor has an id in a first-party cookie.
const place = "; domain=.yoursite.localhost; path=/";
const byId = (id) => document.getElementById(id);

function read(name) {
  const pair = document.cookie.split("; ").find((cookie) => cookie.startsWith(name + "="));
  const value = pair ? pair.slice(name.length + 1) : "";
  try {
    return decodeURIComponent(value);
  } catch {
    return value;
  }
}

function write(name, value) {
  const expires = new Date();
  expires.setFullYear(expires.getFullYear() + 5);
  document.cookie = name + "=" + encodeURIComponent(value) + place + "; expires=" + expires.toUTCString();
}

function remove(name) {
  document.cookie = name + "=" + place + "; expires=Thu, 01 Jan 1970 00:00:00 GMT";
}

function show() {
  const name = ["km_ni", "km_ai"].find(read);
  const identity = name ? read(name) : "";
  byId("identity").textContent = identity || "none";
  byId("cookie-name").textContent = name || "none";
  byId("example").textContent = identity ? encodeURIComponent(identity) : "your-identity";
}

if (!read("km_ai")) {
  const bytes = crypto.getRandomValues(new Uint8Array(20));
  write("km_ai", btoa(String.fromCharCode(...bytes)));
}

byId("log-in").addEventListener("click", () => {
  write("km_ni", "bob@bob.com");
  show();
});
byId("forget").addEventListener("click", () => {
  remove("km_ni");
  remove("km_ai");
  location.reload();
});

byId("actions").hidden = false;
show();
addEventListener("pageshow", show); // also when the Back button brings a kept page
