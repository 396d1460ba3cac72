// WHIP and WHEP by GStreamer's webrtcbin, with libnice for ICE and OpenSSL for DTLS.

import { gstreamer } from './lib/gst.mjs';
import { scene } from './lib/scene.mjs';
import { until } from './lib/wait.mjs';

const PICTURES = 60;

const { skip, enter } = gstreamer();

for (const codec of ['vp8', 'h264']) {
  scene(`GStreamer publishes and plays ${codec}`, async ({ server, note }) => {
    const peers = [];
    try {
      for (const way of ['whip', 'whep']) peers.push(await enter(server, way, 'gst', codec));
      await peers[1].seesAndHears(PICTURES, note);
      for (const peer of peers) await peer.delete();
    } finally {
      for (const peer of peers) await peer.leave();
    }
    await until('nobody is left', async () => (await server.metric('antipode_sessions')) === 0);
  }, { skip });
}
