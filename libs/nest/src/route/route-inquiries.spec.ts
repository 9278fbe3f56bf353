import { IncomingMessage, type ServerResponse } from 'node:http';
import { Socket } from 'node:net';
import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import type { HttpAdapterHost } from '@nestjs/core';
import { FOR_EVER } from '@sse-channels/engine';
import { RouteInquiries } from './route-inquiries.js';
import type { StreamRequest } from './stream-request.js';

type Route = (request: IncomingMessage, response: ServerResponse) => void;

const hubRequest = { lendTo() {} } as unknown as StreamRequest;
const given = { requests: [], grant: FOR_EVER };

/** Inquiries in an application whose every URL this route answers, and the requests that it was asked by. */
function inquiriesOf(route: Route) {
  const asked: IncomingMessage[] = [];
  const listener: Route = (request, response) => {
    asked.push(request);
    route(request, response);
  };
  const inquiries = new RouteInquiries({ httpAdapter: { getInstance: () => listener } } as unknown as HttpAdapterHost);
  const original = new IncomingMessage(new Socket());
  original.headers = { cookie: 'a=1', 'last-event-id': 'e~1-0', accept: 'application/json' };
  return { inquiries, asked, ask: () => inquiries.ask('/orders/1/events', original, hubRequest), original };
}

describe('an inquiry', () => {
  beforeEach(() => {
    jest.useFakeTimers({ doNotFake: ['setImmediate', 'nextTick', 'queueMicrotask', 'performance'] });
  });

  afterEach(() => {
    jest.useRealTimers();
  });

  it("is the hub's request once more, with another URL and without what was of the hub alone", async () => {
    const { inquiries, asked, ask, original } = inquiriesOf((request, response) => {
      const inquiry = inquiries.of(request);
      inquiry?.answer(given);
      expect([inquiry?.request, inquiry?.original]).toEqual([hubRequest, original]);
      response.writeHead(204).end();
    });
    expect(await ask()).toBe(given);
    expect(asked.map(({ method, url, headers }) => [method, url, headers['cookie'], headers['last-event-id']])).toEqual(
      [['GET', '/orders/1/events', 'a=1', undefined]],
    );
    expect(inquiries.of(asked[0]!)).toBeUndefined();
  });

  it('is told the status and the message of a refusal, and of a long answer the status', async () => {
    const refusing = inquiriesOf((_request, response) => {
      response.writeHead(403, { 'content-type': 'application/json' });
      response.end(JSON.stringify({ statusCode: 403, message: 'Not yours' }));
    });
    const long = inquiriesOf((_request, response) => {
      response.writeHead(302, { location: '/login' });
      for (let n = 0; n < 100; n += 1) response.write('sign in '.repeat(1_000));
      response.end();
    });
    expect(await refusing.ask()).toEqual({ status: 403, message: 'Not yours' });
    expect(await long.ask()).toEqual({ status: 302, message: 'Found' });
  });

  it('that is not answered in time is a refusal for now, and stays an inquiry for the route', async () => {
    let answer: () => void = () => undefined;
    const { inquiries, asked, ask } = inquiriesOf((request, response) => {
      answer = () => {
        inquiries.of(request)?.answer(given);
        response.writeHead(204).end();
      };
    });
    const asking = ask();
    await jest.advanceTimersByTimeAsync(8_000);
    expect(await asking).toEqual({ status: 504, message: "The topic's route did not answer in time." });
    expect(inquiries.of(asked[0]!)).toBeDefined();
    answer();
    await new Promise(setImmediate);
    expect(inquiries.of(asked[0]!)).toBeUndefined();
  });
});
