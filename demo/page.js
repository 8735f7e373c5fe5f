// What Gradio leaves unsaid: a camera or clipboard that is refused, a server that is gone.
(() => {
  const say = text => {
    const note = document.querySelector('.toast') ?? document.body.appendChild(document.createElement('div'));
    note.className = 'toast notice';
    note.setAttribute('role', 'alert');
    note.textContent = text;
    clearTimeout(say.timer);
    say.timer = setTimeout(() => note.remove(), 12000);
  };

  // Calls OWNER's NAME as before; where that fails, says what the visitor can do, and returns
  // INSTEAD if there is such a thing.
  const explain = (owner, name, words, check = () => {}, instead) => {
    const call = owner?.[name];
    if (call) owner[name] = async (...all) => {
      try {
        const result = await call.apply(owner, all);
        check(result);
        return result;
      } catch (error) {
        if (error.name !== 'AbortError') say(words(error));
        if (!instead) throw error;
        return instead;
      }
    };
  };
  const camera = error => error.name === 'NotFoundError'
    ? 'No camera was found. Choose a picture file instead.'
    : 'The camera cannot be used: the browser refuses it, or another program has it. '
      + 'Allow it beside the address, or choose a picture file.';
  explain(navigator.mediaDevices, 'getUserMedia', camera);
  explain(navigator.clipboard, 'read',
    () => 'The clipboard cannot be read: the browser refuses it. '
      + 'Allow it beside the address, or choose a picture file.',
    items => items.some(item => item.types.some(type => type.startsWith('image/')))
      || say('There is no picture in the clipboard. Copy one, and paste again.'), []);
  const closed = {
    'Capture from camera': navigator.mediaDevices,
    'Start the camera': navigator.mediaDevices,
    'Paste from clipboard': navigator.clipboard?.read,
  };
  document.addEventListener('click', event => {
    const button = event.target.closest('button'), name = button?.ariaLabel ?? button?.innerText;
    if (name in closed && !closed[name])
      say('Browsers allow this to pages at https or on this machine alone. Choose a picture file.');
  });

  // Of two uploads, the newer one counts, though the older one may be slower.
  const send = window.fetch;
  let uploading;
  window.fetch = (what, options = {}) => {
    if (options.method === 'POST' && /\/upload(\?|$)/.test(what.url ?? what)) {
      uploading?.abort();
      uploading = new AbortController();
      options = {...options, signal: uploading.signal};
    }
    return send(what, options);
  };
  explain(window, 'fetch', () => 'The server does not answer. Check the connection, and try again.');
})();
