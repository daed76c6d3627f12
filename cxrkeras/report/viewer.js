// The viewer: one film under one map, stepped through the checkpoints. Reads the JSON beside it and asks for nothing.
"use strict";
(() => {
  const at = (id) => document.getElementById(id);
  const data = JSON.parse(at("viewer-data").textContent);
  const bytes = (text) => Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
  const colours = bytes(data.colours);
  const state = { run: 0, film: 0, method: 0, target: 0, epoch: data.runs[0].start, alpha: data.alpha };
  const films = new Map();
  const cells = new Map();
  let playing = null;

  function option(select, value, text) {
    const item = document.createElement("option");
    item.value = value;
    item.textContent = text;
    select.append(item);
  }

  function fill(select, texts, chosen) {
    select.replaceChildren();
    texts.forEach((text, value) => option(select, value, text));
    select.value = chosen;
  }

  function runName(run) {
    const repeated = data.runs.filter((other) => other.backbone === run.backbone).length > 1;
    return repeated ? `${run.backbone}, seed ${run.seed}` : run.backbone;
  }

  function filmName(film) {
    return `${data.classes[film.label]} · ${film.id}`;
  }

  function pixels(number) {
    if (!films.has(number)) {
      const film = data.films[number];
      films.set(number, new Promise((done, failed) => {
        const image = new Image();
        image.onload = () => {
          const canvas = document.createElement("canvas");
          [canvas.width, canvas.height] = film.size;
          const context = canvas.getContext("2d", { willReadFrequently: true });
          context.drawImage(image, 0, 0);
          done(context.getImageData(0, 0, canvas.width, canvas.height));
        };
        image.onerror = failed;
        image.src = film.picture;
      }));
    }
    return films.get(number);
  }

  // The map of a film, or why there is none.
  function mapOf(epoch) {
    const run = data.runs[state.run];
    const key = `${state.method}|${state.target}`;
    const stored = run.maps[key] && run.maps[key][epoch];
    if (!stored || stored.status[state.film] === "") {
      return { reason: `no ${data.methods[state.method]} map of this film for ${data.classes[state.target]} was made` };
    }
    const status = stored.status[state.film];
    const place = stored.places[state.film];
    if (place === null) return { reason: `the map is ${status}: it has no contrast to show`, status, stored };
    const name = `${state.run}|${key}|${epoch}`;
    if (!cells.has(name)) cells.set(name, bytes(stored.cells));
    const [height, width] = stored.grid;
    const first = place * height * width;
    return { values: cells.get(name).subarray(first, first + height * width), height, width, status, stored };
  }

  // Weights of the two cells that a pixel lies between: half-pixel centres, edges repeated.
  function between(pixel, length, count) {
    const position = (pixel + 0.5) * count / length - 0.5;
    const below = Math.floor(position);
    const hold = (index) => Math.min(Math.max(index, 0), count - 1);
    return [hold(below), hold(below + 1), position - below];
  }

  function enlarged(map, width, height) {
    const across = Array.from({ length: width }, (_, x) => between(x, width, map.width));
    const heat = new Float32Array(width * height);
    let low = Infinity;
    let high = -Infinity;
    for (let y = 0; y < height; y += 1) {
      const [top, bottom, down] = between(y, height, map.height);
      for (let x = 0; x < width; x += 1) {
        const [left, right, over] = across[x];
        const upper = map.values[top * map.width + left] * (1 - over) + map.values[top * map.width + right] * over;
        const lower = map.values[bottom * map.width + left] * (1 - over) + map.values[bottom * map.width + right] * over;
        const value = upper * (1 - down) + lower * down;
        heat[y * width + x] = value;
        low = Math.min(low, value);
        high = Math.max(high, value);
      }
    }
    const span = high - low || 1;
    for (let i = 0; i < heat.length; i += 1) heat[i] = (heat[i] - low) / span;
    return heat;
  }

  function blend(film, heat, alpha) {
    const shown = new ImageData(film.width, film.height);
    for (let i = 0; i < film.width * film.height; i += 1) {
      const weight = heat ? alpha * heat[i] : 0;
      const colour = heat ? 3 * Math.round(255 * heat[i]) : 0;
      for (let channel = 0; channel < 3; channel += 1) {
        shown.data[4 * i + channel] = (1 - weight) * film.data[4 * i + channel] + weight * colours[colour + channel];
      }
      shown.data[4 * i + 3] = 255;
    }
    return shown;
  }

  function paint(canvas, film, epoch) {
    const map = mapOf(epoch);
    canvas.width = film.width;
    canvas.height = film.height;
    const heat = map.values ? enlarged(map, film.width, film.height) : null;
    canvas.getContext("2d").putImageData(blend(film, heat, state.alpha), 0, 0);
    return map;
  }

  function probability(epoch, target) {
    const value = data.runs[state.run].probabilities[epoch][state.film][target];
    return value === null ? "undefined" : value.toFixed(3);
  }

  function correct(epoch) {
    const values = data.runs[state.run].probabilities[epoch][state.film];
    return values.indexOf(Math.max(...values)) === data.films[state.film].label;
  }

  function gold(epoch) {
    const run = data.runs[state.run];
    if (run.gold[epoch][state.film]) return "yes";
    return correct(epoch) ? `no, below the confidence ${run.threshold}` : "no, wrongly classified";
  }

  function facts(map) {
    const run = data.runs[state.run];
    const film = data.films[state.film];
    const pairs = [
      ["Film", film.id],
      ["Label", data.classes[film.label]],
      ["Checkpoint", `epoch ${run.epochs[state.epoch]}, ${run.stages[state.epoch]}`],
      [`Probability of ${data.classes[state.target]}`, probability(state.epoch, state.target)],
      ["In the gold list", gold(state.epoch)],
      ["Map", map.status ? map.status.replaceAll("_", " ") : map.reason],
    ];
    if (map.stored) {
      const shown = map.stored.grid.join(" × ");
      const native = map.stored.native.join(" × ");
      pairs.push(["Native grid", shown === native ? native : `${native}, shown at ${shown}`]);
    }
    const list = at("viewer-facts");
    list.replaceChildren();
    for (const [name, value] of pairs) {
      const row = document.createElement("div");
      const term = document.createElement("dt");
      const text = document.createElement("dd");
      term.textContent = name;
      text.textContent = value;
      row.append(term, text);
      list.append(row);
    }
    return pairs.map((pair) => pair.join(": ")).join("; ");
  }

  let latest = 0;
  async function draw(strip) {
    const ticket = (latest += 1);
    const film = await pixels(state.film);
    if (ticket !== latest) return;
    const canvas = at("viewer-canvas");
    const map = paint(canvas, film, state.epoch);
    canvas.setAttribute("aria-label", `${data.methods[state.method]} map over the film. ${facts(map)}`);
    at("viewer-absent").hidden = !map.reason;
    at("viewer-absent").textContent = map.reason || "";
    const last = data.runs[state.run].epochs.length - 1;
    const slider = at("pick-epoch");
    slider.max = last;
    slider.value = state.epoch;
    slider.setAttribute("aria-valuetext", `epoch ${data.runs[state.run].epochs[state.epoch]}`);
    at("step-back").disabled = state.epoch === 0;
    at("step-on").disabled = state.epoch === last;
    if (strip) drawStrip(film);
    [...at("viewer-strip").children].forEach((button, epoch) => {
      button.setAttribute("aria-current", String(epoch === state.epoch));
    });
    at("viewer-app").dataset.drawn = [state.run, state.film, state.method, state.target, state.epoch].join("|");
  }

  function drawStrip(film) {
    const run = data.runs[state.run];
    at("viewer-strip").replaceChildren(...run.epochs.map((number, epoch) => {
      const button = document.createElement("button");
      const canvas = document.createElement("canvas");
      const title = document.createElement("b");
      button.type = "button";
      const map = paint(canvas, film, epoch);
      title.textContent = `epoch ${number}`;
      const words = map.reason ? (map.status || "no map") : `p ${probability(epoch, state.target)}`;
      button.append(canvas, title, document.createElement("br"), words);
      if (run.gold[epoch][state.film]) button.append(" · gold");
      button.addEventListener("click", () => step(epoch));
      return button;
    }));
  }

  function step(epoch) {
    state.epoch = Math.min(Math.max(epoch, 0), data.runs[state.run].epochs.length - 1);
    return draw(false);
  }

  function stop() {
    clearInterval(playing);
    playing = null;
    at("step-play").textContent = "Play";
    at("step-play").setAttribute("aria-pressed", "false");
  }

  function play() {
    if (playing) {
      stop();
      return;
    }
    at("step-play").textContent = "Stop";
    at("step-play").setAttribute("aria-pressed", "true");
    playing = setInterval(() => step((state.epoch + 1) % data.runs[state.run].epochs.length), 900);
  }

  function choose(field, id, after) {
    at(id).addEventListener("change", (event) => {
      const before = { ...state };
      state[field] = Number(event.target.value);
      if (after) after(before);
      draw(true);
    });
  }

  fill(at("pick-run"), data.runs.map(runName), 0);
  fill(at("pick-film"), data.films.map(filmName), 0);
  fill(at("pick-method"), data.methods, 0);
  state.target = data.films[0].label;
  fill(at("pick-class"), data.classes, state.target);
  choose("run", "pick-run", (before) => {
    // the same checkpoint of the other run, or the one it is reported at
    const run = data.runs[state.run];
    const same = run.epochs.indexOf(data.runs[before.run].epochs[before.epoch]);
    state.epoch = same < 0 ? run.start : same;
  });
  choose("film", "pick-film", () => {
    state.target = data.films[state.film].label;
    at("pick-class").value = state.target;
  });
  choose("method", "pick-method");
  choose("target", "pick-class");
  at("pick-alpha").value = Math.round(100 * data.alpha);
  at("pick-alpha").addEventListener("input", (event) => {
    state.alpha = Number(event.target.value) / 100;
    draw(true);
  });
  at("pick-epoch").addEventListener("input", (event) => step(Number(event.target.value)));
  at("step-back").addEventListener("click", () => step(state.epoch - 1));
  at("step-on").addEventListener("click", () => step(state.epoch + 1));
  at("step-play").addEventListener("click", play);
  at("viewer-app").addEventListener("keydown", (event) => {
    if (event.target.matches("select, input")) return;
    const move = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!move) return;
    event.preventDefault();
    step(state.epoch + move);
  });
  const scale = at("viewer-scale").getContext("2d").createImageData(256, 1);
  for (let i = 0; i < 256; i += 1) scale.data.set([colours[3 * i], colours[3 * i + 1], colours[3 * i + 2], 255], 4 * i);
  at("viewer-scale").getContext("2d").putImageData(scale, 0, 0);
  at("viewer-app").hidden = false;
  draw(true);
})();
