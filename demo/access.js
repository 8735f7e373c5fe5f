// For visitors who use the page by keyboard or by ear: focus is kept when what had it is drawn anew,
// arrow keys go from face to face, and what happens is said.
(() => {
  const ARROWS = {ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1};
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const shown = element => element?.isConnected && element.checkVisibility({visibilityProperty: true});
  const key = element => JSON.stringify(Object.entries(element.dataset)[0]);
  let last, place, panel;  // what has the focus, its component's elem_id, and the tab of that
  let settled;  // a timer

  const focused = ({target}) => {
    [last, panel] = [target, target.closest('.tabitem')];
    place = target.closest('.block[id]')?.id;
    if (target.matches('[role=toolbar] > button'))
      for (const other of target.parentElement.children) other.tabIndex = other === target ? 0 : -1;
  };

  // The same button drawn anew, or the picture's own one, or the first one of the tab.
  const refocus = () => {
    if (!last || !panel || document.activeElement !== document.body || shown(last)) return;
    const own = all(`#${place} button`).filter(other => key(other) === key(last));
    const again = all('[data-again]', panel);
    [...own, ...again, ...all('button, input, a[href], summary', panel)].find(shown)?.focus();
  };

  const say = text => { document.getElementById('said').textContent = text };

  const drawn = changes => {
    // Gradio redraws what differs; a button that says "Copied" is our own doing.
    const parts = new Set(changes.filter(({target}) => !target.closest?.('button'))
      .map(({target}) => target.closest?.('[id^=html-]')));
    for (const told of [...parts].map(part => part?.querySelector('[data-say]')))
      if (shown(told)) say(told.dataset.say);
    const results = document.getElementById('results');
    if (results && parts.has(results.querySelector('[id^=html-]')))
      results.ariaBusy = Boolean(results.querySelector('.skeleton'));
    clearTimeout(settled);
    settled = setTimeout(refocus, 100);  // Gradio redraws part after part, the first one not first
  };

  document.addEventListener('focusin', focused);
  // Left for nothing else, and still there: the visitor's own wish.
  document.addEventListener('focusout', ({target}) => setTimeout(() => {
    if (target === last && document.activeElement === document.body && shown(target)) last = null;
  }));
  document.addEventListener('click', ({target}) => {
    const chosen = target.closest('[data-face]')?.dataset.face;
    if (chosen) for (const face of all('[data-face]')) face.tabIndex = face.dataset.face === chosen ? 0 : -1;
  });
  document.addEventListener('change', ({target}) => {
    if (!target.closest('#controls')) return;
    document.getElementById('results').ariaBusy = true;
    say('The models are asked again …');
  });
  document.addEventListener('keydown', event => {
    const button = event.target.closest('[role=toolbar] > button');
    if (!button || !(event.key in ARROWS || event.key === 'Home' || event.key === 'End')) return;
    const faces = all(':scope > button', button.parentElement), now = faces.indexOf(button);
    const next = {Home: 0, End: faces.length - 1}[event.key] ?? now + ARROWS[event.key];
    event.preventDefault();
    faces.at(next % faces.length).focus();
  });
  new MutationObserver(drawn).observe(document.documentElement, {childList: true, subtree: true});
})();
