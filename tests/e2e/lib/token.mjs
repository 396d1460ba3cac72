// Access tokens, made by hand with the development key, so that a test can make bad ones too.

import { createHmac } from 'node:crypto';

const [KEY, SECRET] = ['devkey', 'secret'];

export const now = Math.floor(Date.now() / 1000);
export const part = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');

/** A token that may join the room `r` as `mallory`, but for what `claims` says otherwise. */
export function mint(claims, { secret = SECRET, alg = 'HS256' } = {}) {
  const whole = {
    iss: KEY, sub: 'mallory', nbf: now - 5, exp: now + 600, video: { room: 'r', roomJoin: true },
    ...claims,
  };
  const body = `${part({ alg, typ: 'JWT' })}.${part(whole)}`;
  if (alg === 'none') return `${body}.`;
  return `${body}.${createHmac('sha256', secret).update(body).digest('base64url')}`;
}
