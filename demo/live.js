// The live tab: sends the camera's newest frame once the last one is answered, and draws the answer.
const find = name => element.querySelector(name);
const video = find('video'), button = find('[data-live]'), model = find('select');
const canvas = document.createElement('canvas');
const LONGEST = 640;  // pixels of a frame that is sent
const PAUSE = 100;    // ms from one frame to the next, at least
let camera;           // its stream, while it runs
let stopped;          // once the server has forgotten the last one

const say = text => { find('[role=status]').textContent = text };

const OFF = find('.people').innerHTML;
const show = ({boxes = '', people = OFF}) => {
  find('.boxes').innerHTML = boxes;
  find('.people').innerHTML = people;
};

const stop = (text = 'The camera is off.') => {
  camera?.getTracks().forEach(track => track.stop());
  camera = video.srcObject = null;
  find('.live').classList.remove('on');
  button.textContent = 'Start the camera';
  show({});
  say(text);
  stopped = server.stop(null);
};

const draw = () => {
  const scale = Math.min(1, LONGEST / Math.max(video.videoWidth, video.videoHeight));
  canvas.width = Math.round(scale * video.videoWidth);
  canvas.height = Math.round(scale * video.videoHeight);
  canvas.getContext('2d').drawImage(video, 0, 0, canvas.width, canvas.height);
  return canvas.toDataURL('image/jpeg', .85);
};

const follow = async own => {
  while (camera === own) {
    // Nobody looks: another tab is open, or the page is in the background.
    if (document.hidden || !video.offsetParent) return stop('The camera stopped as you left it.');
    const due = performance.now() + PAUSE;
    const answer = await server.see(draw());
    if (camera !== own) return;
    if (!answer || answer.error) return stop(answer?.error ?? 'The server does not answer.');
    show(answer);
    say(['Nobody is in view.', 'One person is in view.'][answer.count]
      ?? `${answer.count} people are in view.`);
    await new Promise(done => setTimeout(done, due - performance.now()));
  }
};

const start = async () => {
  say('Waiting for the camera …');
  let own;
  try {
    own = await navigator.mediaDevices.getUserMedia({video: {facingMode: 'user'}});
    own.getTracks()[0].onended = () => camera === own && stop('The camera has gone away.');
    video.srcObject = camera = own;
    await video.play();
  } catch {  // page.js says what can be done
    return stop('There is no picture from the camera.');
  }
  find('.frame').style.setProperty('--ratio', video.videoWidth / video.videoHeight);
  find('.live').classList.add('on');
  button.textContent = 'Stop the camera';
  say('Looking for faces …');
  await stopped;
  const answer = await server.start(model.value);
  if (answer && !answer.error) follow(own);
  else stop(answer?.error ?? 'The server does not answer.');
};

button.addEventListener('click', () => camera ? stop() : start());
model.addEventListener('change', () => camera && server.start(model.value));
