// The server calls cdpBeat() with each refresh. A page that hears nothing says so: what it shows is then old, however alive it looks.
const CDP_SILENT_MS = 3000;
let cdpLastBeat = Date.now();
window.cdpBeat = () => { cdpLastBeat = Date.now(); document.body.classList.remove("unanswered"); };
setInterval(() => {
  if (Date.now() - cdpLastBeat > CDP_SILENT_MS) document.body.classList.add("unanswered");
}, 500);
