// What the address bar shows, and the cookie of this site taken away.
const show = () => { document.getElementById("address").textContent = location.href; };
show();
addEventListener("hashchange", show);

const forget = document.getElementById("forget");
forget.hidden = false;
forget.addEventListener("click", () => {
  document.cookie = `km_ni=; domain=.${location.hostname}; path=/; max-age=0`;
  location.replace(location.pathname);
});
