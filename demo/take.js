// What a visitor takes along: the answer as JSON, or as a picture.
(() => {
  const W = 1080, H = 566, PAD = 60;

  // Draws the first answer as it stands on the page: the face, its texts, and a bar per group.
  const draw = async joint => {
    const canvas = document.createElement('canvas');
    [canvas.width, canvas.height] = [W, H];
    const pen = canvas.getContext('2d'), style = getComputedStyle(joint);
    const colour = name => style.getPropertyValue(name).trim();
    const write = (text, size, x, y, ink, weight = 400, align = 'left') => {
      pen.font = `${weight} ${size}px ${style.fontFamily}`;
      [pen.fillStyle, pen.textAlign] = [ink, align];
      pen.fillText(text, x, y, W - x - PAD + (align === 'center' ? W : 0));
    };
    const say = name => joint.querySelector(name)?.innerText ?? '';
    pen.fillStyle = colour('--card');
    pen.fillRect(0, 0, W, H);
    const face = document.querySelector('#crop img');
    await face.decode();
    pen.drawImage(face, PAD, PAD, 250, 250);
    const x = PAD + 290;
    write(say('.kicker'), 24, x, 86, colour('--accent'), 600);
    write(say('.group'), 84, x, 174, colour('--ink'), 700);
    write(say('.detail'), 28, x, 228, colour('--ink'), 500);
    write(say('.agree'), 22, x, 272, colour('--soft'));
    const bars = [...joint.querySelectorAll('.spectrum li')], wide = (W - 2 * PAD) / bars.length;
    bars.forEach((bar, n) => {
      const tall = Math.max(3, 110 * bar.style.getPropertyValue('--p')), best = bar.matches('.best');
      pen.fillStyle = colour(best ? '--accent' : '--bar');
      pen.fillRect(PAD + n * wide + 6, 462 - tall, wide - 12, tall);
      write(bar.querySelector('.name').innerText, 20, PAD + (n + .5) * wide, 490,
        colour(best ? '--ink' : '--soft'), best ? 700 : 400, 'center');
    });
    write('agecli: an estimate of apparent age, not for decisions about people', 18, PAD, 534,
      colour('--soft'));
    return new Promise(done => canvas.toBlob(done, 'image/png'));
  };

  const save = (blob, name) => {
    const link = document.createElement('a');
    link.href = URL.createObjectURL(blob);
    link.download = name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  };

  document.addEventListener('click', async event => {
    const button = event.target.closest('[data-copy], [data-card]');
    if (!button) return;
    if (button.dataset.card) {
      const blob = await draw(button.closest('.joint'));
      const files = [new File([blob], button.dataset.card, {type: blob.type})];
      // Phones have a sheet for it; where it is closed, nothing is to be done.
      if (matchMedia('(pointer: coarse)').matches && navigator.canShare?.({files}))
        navigator.share({files}).catch(() => {});
      else save(blob, button.dataset.card);
    } else if (navigator.clipboard) {
      await navigator.clipboard.writeText(button.dataset.copy);
      button.textContent = document.getElementById('said').textContent = 'Copied';
    } else save(new Blob([button.dataset.copy], {type: 'application/json'}), 'ages.json');
  });
})();
