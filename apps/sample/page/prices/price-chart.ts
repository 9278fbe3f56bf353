/** The price of one symbol over the last three minutes: what came live, what was replayed, and where there was no connection. */
import uPlot from 'uplot';
import { element, setText } from '../element.js';
import type { Shown } from '../live/live-connection.js';
import { toServerMs } from '../live/server-clock.js';
import { amount, clockTime, counted } from '../words.js';
import type { PriceBook, PricePoint } from './price-book.js';

const WINDOW_MS = 180_000;
const LEAST_WINDOW_MS = 30_000;
/** Room between the newest point and the axis, as a share of the window. */
const HEAD_ROOM = 0.02;
const REPLAYED_SERIES = 2;
const VOLUME_SERIES = 3;
const FONT = 'system-ui, -apple-system, "Segoe UI", Roboto, sans-serif';

const BARS = uPlot.paths.bars?.({ size: [0.7, 5, 2] });
const calm = matchMedia('(prefers-reduced-motion: reduce)');

/** Words on a band: `short` where it is narrow; `line` from the top, for bands that overlap. */
interface BandLabel {
  readonly text: string;
  readonly short: string;
  readonly colour: string;
  readonly line?: number;
}

export class PriceChart {
  readonly #root: HTMLElement;
  readonly #plot: uPlot;
  readonly #colours = new Map<string, string>();
  readonly #probe = element('span', { class: 'colour-probe', 'aria-hidden': 'true' });
  readonly #empty = element('p', { class: 'chart-empty' }, 'Waiting for the first price…');
  readonly #tooltip = new Tooltip();
  readonly #sizes = new ResizeObserver(() => this.#fit());
  #beat: ReturnType<typeof setTimeout> | undefined;
  #book: PriceBook | null = null;
  #connection: Shown | null = null;
  /** The points behind the drawn columns; null where the line is broken. */
  #rows: Array<PricePoint | null> = [];
  #isDue = false;
  #hatch: CanvasPattern | null = null;

  /** @param root sized by the style sheet */
  constructor(root: HTMLElement) {
    this.#root = root;
    root.append(this.#probe, this.#empty);
    this.#plot = new uPlot(this.#options(), [[], [], [], []], root);
    this.#plot.over.append(this.#tooltip.root);
    this.#sizes.observe(root);
    // Time passes without events too: the window moves on, and a cut grows.
    const beat = (): void => {
      this.#update();
      this.#beat = setTimeout(beat, calm.matches ? 1_000 : 200);
    };
    beat();
  }

  /** Shows a book, and a connection that may be lost. */
  show(book: PriceBook, connection: Shown): void {
    this.#book = book;
    this.#connection = connection;
    this.#update();
  }

  /** Takes the theme's colours anew. */
  recolour(): void {
    this.#colours.clear();
    this.#hatch = null;
    this.#plot.redraw(false, true);
  }

  /** Ends it, and empties its root. */
  end(): void {
    clearTimeout(this.#beat);
    this.#sizes.disconnect();
    this.#plot.destroy();
    this.#root.replaceChildren();
    this.#book = null;
  }

  /** Draws what is new with the next frame. */
  #update(): void {
    if (this.#isDue) return;
    this.#isDue = true;
    requestAnimationFrame(() => {
      this.#isDue = false;
      this.#draw();
    });
  }

  #fit(): void {
    const { clientWidth: width, clientHeight: height } = this.#root;
    if (width > 0 && height > 0) this.#plot.setSize({ width, height });
  }

  #draw(): void {
    const book = this.#book;
    if (book === null) return;
    const nowMs = toServerMs(Date.now());
    const firstMs = book.points[0]?.atMs ?? nowMs;
    const latest = book.points.at(-1);
    const toMs = Math.max(nowMs, latest?.atMs ?? 0);
    const fromMs = Math.max(toMs - WINDOW_MS, Math.min(firstMs, toMs - LEAST_WINDOW_MS));
    const data = this.#columns(book.points);
    this.#empty.hidden = latest !== undefined;
    this.#plot.batch(() => {
      this.#plot.setData(data, false);
      this.#plot.setScale('x', { min: fromMs / 1000, max: (toMs + (toMs - fromMs) * HEAD_ROOM) / 1000 });
    });
    this.#describe(book);
  }

  #columns(points: readonly PricePoint[]): uPlot.AlignedData {
    const times: number[] = [];
    const prices: Array<number | null> = [];
    const replayed: Array<number | null> = [];
    const volumes: Array<number | null> = [];
    this.#rows = [];
    let lastTime = 0;
    for (const point of points) {
      // The axis wants times that never go back; two events of one millisecond stay where they are.
      const time = Math.max(point.atMs / 1000, lastTime);
      if (isBrokenBefore(point)) {
        times.push((lastTime + time) / 2);
        prices.push(null);
        replayed.push(null);
        volumes.push(null);
        this.#rows.push(null);
      }
      times.push(time);
      prices.push(point.price);
      replayed.push(point.replayed ? point.price : null);
      volumes.push(point.volume);
      this.#rows.push(point);
      lastTime = time;
    }
    return [times, prices, replayed, volumes];
  }

  #describe({ symbol, points }: PriceBook): void {
    const latest = points.at(-1);
    const words =
      latest === undefined
        ? `${symbol}: no price yet.`
        : `${symbol}: ${counted(points.length, 'price')}, the latest ${amount(latest.price)}.`;
    if (this.#root.getAttribute('aria-label') !== words) this.#root.setAttribute('aria-label', words);
  }

  /** A custom property of the style sheet as a canvas understands it. */
  #colour(name: string): string {
    let colour = this.#colours.get(name);
    if (colour === undefined) {
      this.#probe.style.color = `var(--${name})`;
      colour = getComputedStyle(this.#probe).color;
      this.#colours.set(name, colour);
    }
    return colour;
  }

  #options(): uPlot.Options {
    const axisFont = `12px ${FONT}`;
    const grid = { stroke: () => this.#colour('chart-grid'), width: 1 };
    return {
      width: Math.max(1, this.#root.clientWidth),
      height: Math.max(1, this.#root.clientHeight),
      padding: [14, 0, 0, 12],
      legend: { show: false },
      cursor: {
        drag: { x: false, y: false, setScale: false },
        points: {
          size: (_plot, series) => (series === VOLUME_SERIES ? 0 : 9),
          width: (_plot, series) => (series === VOLUME_SERIES ? 0 : 2),
          stroke: () => this.#colour('surface'),
          fill: (_plot, series) => this.#colour(series === REPLAYED_SERIES ? 'replay' : 'line'),
        },
      },
      scales: {
        x: { time: true, auto: false },
        y: {
          range: (_plot, low: number | null, high: number | null) => {
            if (low === null || high === null) return [0, 1];
            const span = Math.max(high - low, high * 0.002);
            const middle = (high + low) / 2;
            // More room below: the volumes stand there.
            return [middle - span * 0.85, middle + span * 0.62];
          },
        },
        volume: {
          range: (_plot, _low, high: number | null) => [0, Math.max(1, high ?? 1) * 6],
        },
      },
      axes: [
        {
          stroke: () => this.#colour('muted'),
          font: axisFont,
          size: 34,
          gap: 8,
          space: 84,
          grid: { show: false },
          ticks: { show: false },
          values: (plot, splits) => this.#timeLabels(plot, splits),
        },
        {
          side: 1,
          stroke: () => this.#colour('muted'),
          font: axisFont,
          size: 66,
          gap: 8,
          space: 44,
          grid,
          ticks: { show: false },
          values: (plot, splits) => this.#priceLabels(plot, splits),
        },
      ],
      series: [
        {},
        {
          scale: 'y',
          width: 2,
          points: { show: false },
          stroke: () => this.#colour('line'),
          fill: (plot) => this.#underLine(plot),
        },
        {
          scale: 'y',
          width: 2,
          stroke: () => this.#colour('replay'),
          points: { show: true, size: 5, width: 0, fill: () => this.#colour('replay') },
        },
        {
          scale: 'volume',
          width: 0,
          points: { show: false },
          fill: () => this.#colour('volume'),
          ...(BARS === undefined ? {} : { paths: BARS }),
        },
      ],
      hooks: {
        drawClear: [(plot) => this.#drawBands(plot)],
        draw: [(plot) => this.#drawLatest(plot)],
        setCursor: [(plot) => this.#showTooltip(plot)],
      },
    };
  }

  #timeLabels(plot: uPlot, splits: readonly number[]): string[] {
    // A label is centred under its time: the first may not fit.
    return splits.map((seconds) => (plot.valToPos(seconds, 'x') < 18 ? '' : clockTime(seconds * 1000)));
  }

  #priceLabels(plot: uPlot, splits: readonly number[]): string[] {
    const latest = this.#book?.points.at(-1);
    if (latest === undefined) return splits.map(() => '');
    const tag = plot.valToPos(latest.price, 'y');
    // Where the tag of the newest price stands, there is no room for a label.
    return splits.map((price) => (Math.abs(plot.valToPos(price, 'y') - tag) < 17 ? '' : amount(price)));
  }

  #underLine(plot: uPlot): string | CanvasGradient {
    const { top, height } = plot.bbox;
    if (!(height > 0)) return 'transparent';
    const gradient = plot.ctx.createLinearGradient(0, top, 0, top + height);
    gradient.addColorStop(0, this.#colour('line-fill'));
    gradient.addColorStop(1, this.#colour('line-fill-end'));
    return gradient;
  }

  /** What lies behind the line: times without connection, and holes. */
  #drawBands(plot: uPlot): void {
    const book = this.#book;
    if (book === null) return;
    const { ctx } = plot;
    ctx.save();
    ctx.beginPath();
    ctx.rect(plot.bbox.left, plot.bbox.top, plot.bbox.width, plot.bbox.height);
    ctx.clip();
    for (const { fromMs, toMs, count } of book.bands) {
      if (count === 0) continue;
      const label = { text: `replayed ${count}`, short: String(count), colour: this.#colour('replay') };
      this.#drawBand(plot, toServerMs(fromMs), toServerMs(toMs), this.#colour('replay-band'), label);
    }
    const lostAtMs = this.#connection?.lostAtMs ?? null;
    if (lostAtMs !== null) {
      const text = this.#connection?.status === 'cut' ? 'cut' : 'no connection';
      const label = { text, short: '', colour: this.#colour('muted') };
      this.#drawBand(plot, toServerMs(lostAtMs), toServerMs(Date.now()), this.#hatching(plot), label);
    }
    let before = book.points[0];
    for (const point of book.points) {
      if (isBrokenBefore(point) && before !== undefined) {
        const { missedBefore: missed } = point;
        const label = {
          text: missed > 0 ? `missed ${missed}` : 'gap',
          short: '',
          colour: this.#colour('fault'),
          line: 1,
        };
        this.#drawBand(plot, before.atMs, point.atMs, this.#colour('fault-band'), label);
      }
      before = point;
    }
    ctx.restore();
  }

  #drawBand(plot: uPlot, fromMs: number, toMs: number, fill: string | CanvasPattern, label: BandLabel): void {
    const { ctx, bbox } = plot;
    const ratio = uPlot.pxRatio;
    const left = Math.max(bbox.left, plot.valToPos(fromMs / 1000, 'x', true));
    const right = Math.min(bbox.left + bbox.width, plot.valToPos(toMs / 1000, 'x', true));
    if (!(right > left)) return;
    ctx.fillStyle = fill;
    ctx.fillRect(left, bbox.top, Math.max(right - left, ratio), bbox.height);
    ctx.fillStyle = label.colour;
    ctx.fillRect(left, bbox.top, Math.max(right - left, ratio), 2 * ratio);
    ctx.font = `600 ${11 * ratio}px ${FONT}`;
    const room = right - left - 8 * ratio;
    const text = [label.text, label.short].find((words) => ctx.measureText(words).width <= room);
    if (text === undefined) return;
    ctx.textAlign = 'left';
    ctx.textBaseline = 'top';
    ctx.fillText(text, left + 5 * ratio, bbox.top + (8 + 16 * (label.line ?? 0)) * ratio);
  }

  #hatching(plot: uPlot): CanvasPattern | string {
    if (this.#hatch !== null) return this.#hatch;
    const side = Math.round(8 * uPlot.pxRatio);
    const tile = document.createElement('canvas');
    tile.width = side;
    tile.height = side;
    const ctx = tile.getContext('2d');
    if (ctx === null) return this.#colour('cut-band');
    ctx.fillStyle = this.#colour('cut-band');
    ctx.fillRect(0, 0, side, side);
    ctx.strokeStyle = this.#colour('cut-hatch');
    ctx.lineWidth = Math.max(1, uPlot.pxRatio);
    ctx.beginPath();
    // Three strokes, so that the corners of neighbouring tiles meet.
    for (const shift of [-side, 0, side]) {
      ctx.moveTo(shift - 1, side + 1);
      ctx.lineTo(shift + side + 1, -1);
    }
    ctx.stroke();
    this.#hatch = plot.ctx.createPattern(tile, 'repeat');
    return this.#hatch ?? this.#colour('cut-band');
  }

  /** The newest price: a dot, a level across, and a tag on the axis. */
  #drawLatest(plot: uPlot): void {
    const latest = this.#book?.points.at(-1);
    if (latest === undefined) return;
    const { ctx, bbox } = plot;
    const ratio = uPlot.pxRatio;
    const x = plot.valToPos(latest.atMs / 1000, 'x', true);
    const y = plot.valToPos(latest.price, 'y', true);
    if (!Number.isFinite(x) || !Number.isFinite(y) || x < bbox.left) return;
    const colour = this.#colour(latest.replayed ? 'replay' : 'line');
    const right = bbox.left + bbox.width;
    ctx.save();
    ctx.strokeStyle = colour;
    ctx.globalAlpha = 0.55;
    ctx.lineWidth = ratio;
    ctx.setLineDash([2 * ratio, 4 * ratio]);
    ctx.beginPath();
    ctx.moveTo(bbox.left, Math.round(y) + 0.5);
    ctx.lineTo(right, Math.round(y) + 0.5);
    ctx.stroke();
    ctx.globalAlpha = 1;
    ctx.setLineDash([]);
    ctx.beginPath();
    ctx.arc(x, y, 4.5 * ratio, 0, 2 * Math.PI);
    ctx.fillStyle = colour;
    ctx.strokeStyle = this.#colour('surface');
    ctx.lineWidth = 2 * ratio;
    ctx.stroke();
    ctx.fill();
    ctx.font = `600 ${12 * ratio}px ${FONT}`;
    const text = amount(latest.price);
    const width = ctx.measureText(text).width + 12 * ratio;
    const height = 20 * ratio;
    ctx.beginPath();
    ctx.roundRect(right + 2 * ratio, y - height / 2, width, height, 4 * ratio);
    ctx.fillStyle = colour;
    ctx.fill();
    ctx.fillStyle = this.#colour('on-line');
    ctx.textAlign = 'left';
    ctx.textBaseline = 'middle';
    ctx.fillText(text, right + 8 * ratio, y + ratio);
    ctx.restore();
  }

  #showTooltip(plot: uPlot): void {
    const { idx, left = -1, top = -1 } = plot.cursor;
    const point = idx == null ? undefined : (this.#rows[idx] ?? this.#rows[idx - 1]);
    if (point == null || !(left >= 0)) this.#tooltip.hide();
    else this.#tooltip.show(point, { left, top, width: plot.over.clientWidth });
  }
}

/** Whether the line may not go on to a point from the one before. */
function isBrokenBefore({ missedBefore, isGapBefore }: PricePoint): boolean {
  return missedBefore > 0 || isGapBefore;
}

/** The words beside the crosshair. */
class Tooltip {
  readonly #price = element('p', { class: 'tooltip-price' });
  readonly #time = element('p', { class: 'tooltip-time mono' });
  readonly #facts = element('p', { class: 'tooltip-facts' });
  readonly root = element('div', { class: 'tooltip', hidden: '' }, this.#price, this.#time, this.#facts);

  hide(): void {
    this.root.hidden = true;
  }

  /** @param place of the crosshair, and the plot's width, in CSS pixels */
  show(point: PricePoint, place: { readonly left: number; readonly top: number; readonly width: number }): void {
    const { left, top, width } = place;
    this.root.hidden = false;
    this.root.dataset['replayed'] = String(point.replayed);
    setText(this.#price, amount(point.price));
    setText(this.#time, clockTime(point.atMs));
    setText(
      this.#facts,
      `#${point.sequence} of ${point.node} · vol. ${point.volume}${point.replayed ? ' · replayed' : ''}`,
    );
    const { offsetWidth, offsetHeight } = this.root;
    const x = left + 14 + offsetWidth > width ? left - 14 - offsetWidth : left + 14;
    const y = Math.max(0, top - offsetHeight - 10);
    this.root.style.transform = `translate(${Math.round(Math.max(0, x))}px, ${Math.round(y)}px)`;
  }
}
