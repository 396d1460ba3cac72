// Takes docs/call.png: the page in a real call of two, on a desk; and, beside it in the cache, the
// same on a phone and in the dark, to be looked at by whoever changes the page.
//
//   scripts/picture
//
// The camera's picture is drawn, because the browser's own test picture is no sight.

import { mkdir } from 'node:fs/promises';

import { joinPage, launch } from './lib/browser.mjs';
import { startServer } from './lib/server.mjs';
import { until } from './lib/wait.mjs';

/** Background, skin, hair, clothes of each figure. */
const LOOKS = {
  Ada: ['#fde7c7', '#f4b183', '#c98a5e', '#4a2f27', '#0f766e'],
  Grace: ['#cfe3ff', '#8fb4e8', '#8d5a3c', '#1f1a1a', '#b45309'],
};

/** Runs in the page before all else: a camera that shows a figure who nods a little. */
function drawnCamera([light, deep, skin, hair, cloth]) {
  const canvas = document.createElement('canvas');
  [canvas.width, canvas.height] = [1280, 720];
  const pen = canvas.getContext('2d');
  const ellipse = (color, x, y, rx, ry) => {
    pen.fillStyle = color;
    pen.beginPath();
    pen.ellipse(x, y, rx, ry, 0, 0, 2 * Math.PI);
    pen.fill();
  };
  const draw = () => {
    const time = performance.now() / 1000;
    const [x, y] = [640 + 18 * Math.sin(time * 1.1), 330 + 8 * Math.sin(time * 2.3)];
    const ground = pen.createLinearGradient(0, 0, 1280, 720);
    ground.addColorStop(0, light);
    ground.addColorStop(1, deep);
    pen.fillStyle = ground;
    pen.fillRect(0, 0, 1280, 720);
    ellipse('#ffffff55', 1080 + 30 * Math.sin(time / 3), 150, 190, 190);
    ellipse(cloth, x, 760, 330, 260);
    ellipse(skin, x, y + 170, 62, 90);
    ellipse(hair, x, y - 35, 168, 185);
    ellipse(skin, x, y, 138, 172);
    pen.fillStyle = hair;
    pen.beginPath();
    pen.ellipse(x, y - 105, 140, 78, 0, Math.PI, 2 * Math.PI);
    pen.fill();
    const blink = time % 4 < 0.12 ? 2 : 13;
    for (const side of [-54, 54]) ellipse('#1b1b1b', x + side, y - 8, 11, blink);
    pen.strokeStyle = '#7a2e2e';
    pen.lineWidth = 8;
    pen.lineCap = 'round';
    pen.beginPath();
    pen.arc(x, y + 62, 46, 0.18 * Math.PI, 0.82 * Math.PI);
    pen.stroke();
  };
  setInterval(draw, 33);
  draw();
  const { mediaDevices } = navigator;
  const real = mediaDevices.getUserMedia.bind(mediaDevices);
  mediaDevices.getUserMedia = async (wish) => {
    if (!wish.video) return real(wish);
    const stream = canvas.captureStream(30);
    if (wish.audio) (await real({ audio: wish.audio })).getTracks().forEach((t) => stream.addTrack(t));
    return stream;
  };
}

async function main() {
  await mkdir('.cache/pictures', { recursive: true });
  const server = await startServer();
  const browser = await launch();
  try {
    const guests = [];
    for (const [name, look] of Object.entries(LOOKS)) {
      const guest = await joinPage(browser, server, {
        room: 'lobby', name, video: 'hd', prepare: (page) => page.addInitScript(drawnCamera, look),
      });
      guests.push(guest);
    }
    const [ada, grace] = guests;
    await until('all tiles have their figures', async () => {
      const texts = await ada.page.locator('.figures').allTextContents();
      return texts.length === 2 && texts.every((text) => /1280×720 · \d+\sfps.*bit\/s · shard/.test(text));
    }, 40_000);
    await ada.until('knows that both connections are well', () => {
      return document.querySelectorAll('.quality[data-level="excellent"]').length === 2;
    });
    await ada.page.setViewportSize({ width: 1120, height: 560 });
    await ada.until('has a layout', () => document.querySelector('.tile').clientWidth < 560);
    await ada.page.screenshot({ path: 'docs/call.png' });
    await ada.page.emulateMedia({ colorScheme: 'dark' });
    await ada.page.screenshot({ path: '.cache/pictures/dark.png' });
    await grace.page.setViewportSize({ width: 390, height: 800 });
    await grace.until('has a layout', () => document.querySelector('.tile').clientWidth < 390);
    await grace.page.screenshot({ path: '.cache/pictures/phone.png' });
  } finally {
    await browser.close();
    await server.stop();
  }
}

await main();
