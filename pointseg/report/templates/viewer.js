// The 3D view of scenes: up to four panels (colour, truth, prediction, errors) seen by one camera in one WebGL canvas.
// Uses the global THREE (three.bundle.js) and the elements of viewer.html.jinja. Where the scenes' points come from is
// the page's business: it gives `load(number)`, a promise of the bytes that pointseg/evaluation/scene_points.py writes.

const PANELS = ["colour", "truth", "prediction", "errors"];
const [COLOUR, TRUTH, PREDICTION, ERRORS] = PANELS.keys();

const POINTS_VERTEX = `
in vec3 rgb;
in float truth, prediction;
uniform int panel;
uniform float size, pixels, top;      // metres; pixels of one metre seen from one metre; steps above the lowest point
uniform sampler2D palette;            // 256 x 1: colours of the classes, alpha 0 where a class is switched off
uniform vec3 correct, wrong, unscored;
flat out vec3 tint;
flat out vec2 depth;                  // of the middle of the disc and of its rim
void main() {
  vec4 at = modelViewMatrix * vec4(position, 1.0);
  gl_Position = projectionMatrix * at;
  gl_PointSize = clamp(size * pixels / -at.z, 2.0, 60.0);
  vec4 behind = projectionMatrix * (at - vec4(0.0, 0.0, 0.5 * size, 0.0));
  depth = 0.5 + 0.5 * vec2(gl_Position.z / gl_Position.w, behind.z / behind.w);
  vec4 own = texelFetch(palette, ivec2(int(panel == ${PREDICTION} ? prediction : truth), 0), 0);
  tint = panel == ${COLOUR} ? rgb
       : panel != ${ERRORS} ? own.rgb
       : truth > 254.5 ? unscored : truth == prediction ? correct : wrong;
  if (own.a < 0.5 || position.z > top) gl_Position = vec4(0.0, 0.0, 2.0, 1.0);  // out of sight
}`;

// Discs fall off from their middle, so that neighbours on a surface meet half-way instead of covering one another.
const POINTS_FRAGMENT = `
flat in vec3 tint;
flat in vec2 depth;
out vec4 color;
void main() {
  vec2 away = 2.0 * gl_PointCoord - 1.0;
  float far = dot(away, away);
  if (far > 1.0) discard;
  gl_FragDepth = mix(depth.x, depth.y, far);
  color = vec4(tint, 1.0);
}`;

// Eye-dome lighting: darker where the neighbourhood is nearer to the camera.
const SHADE_VERTEX = "void main() { gl_Position = vec4(position.xy, 0.0, 1.0); }";
const SHADE_FRAGMENT = `
uniform sampler2D picture, depths;
uniform float near, far, reach;       // metres, metres, pixels
out vec4 color;
float metres(float depth) { return near * far / (far - depth * (far - near)); }
void main() {
  ivec2 here = ivec2(gl_FragCoord.xy), last = textureSize(picture, 0) - 1;
  color = texelFetch(picture, here, 0);
  if (color.a == 0.0) return;
  float own = metres(texelFetch(depths, here, 0).r), slope = 0.0;
  for (int i = 0; i < 16; i++) {
    float angle = 0.785398 * float(i & 7), radius = i < 8 ? reach : 2.0 * reach;
    ivec2 there = clamp(here + ivec2(round(radius * vec2(cos(angle), sin(angle)))), ivec2(0), last);
    float depth = texelFetch(depths, there, 0).r;
    if (depth < 1.0) slope += clamp((own - metres(depth)) / (0.012 * own * (i < 8 ? 1.0 : 2.0)) - 0.6, 0.0, 1.5);
  }
  color.rgb *= exp(-0.045 * slope);
}`;

/** Numbers of a scene's bytes as pointseg/evaluation/scene_points.py lays them out. */
function decodePoints(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  const [x, y, z, step] = [0, 8, 16, 24].map(at => view.getFloat64(at, true));
  const count = view.getUint32(32, true), present = view.getUint32(36, true);
  let next = 40;
  const column = () => bytes.subarray(next, (next += count));
  const low = [column(), column(), column()], high = [column(), column(), column()];
  const place = new Uint16Array(4 * count);  // x, y, z and nothing: WebGL likes multiples of four bytes
  for (let axis = 0; axis < 3; axis++)
    for (let i = 0, sum = 0; i < count; i++)
      place[4 * i + axis] = sum = (sum + low[axis][i] + 256 * high[axis][i]) & 0xffff;
  const rgb = new Uint8Array(4 * count).fill(200);
  if (present & 1)
    for (let channel = 0; channel < 3; channel++) {
      const values = column();
      for (let i = 0; i < count; i++) rgb[4 * i + channel] = values[i];
    }
  const truth = present & 2 ? column() : null, prediction = present & 4 ? column() : null;
  return {origin: [x, y, z], step, count, place, rgb, colored: Boolean(present & 1), truth, prediction};
}

class SceneViewer {
  /** root: the element of viewer.html.jinja; about: {classes: [{name, color}], ignore, unannotated, errors, scenes}. */
  constructor(root, about, load) {
    Object.assign(this, {root, about, load, hidden: new Set(), current: -1, scene: null});
    this.find = name => root.querySelector(`[data-part=${name}]`);
    this.canvas = this.find("canvas");
    this.panels = new Set(matchMedia("(max-width: 700px)").matches ? [PREDICTION] : [TRUTH, PREDICTION, ERRORS]);
    this.renderer = new THREE.WebGLRenderer({canvas: this.canvas, alpha: true, antialias: false});
    this.renderer.setPixelRatio(Math.min(devicePixelRatio, 2));
    this.renderer.setClearColor(0, 0);
    this.renderer.autoClear = false;
    this.camera = new THREE.PerspectiveCamera(40, 1, 0.1, 100);
    this.camera.up.set(0, 0, 1);
    this.controls = new THREE.OrbitControls(this.camera, this.canvas);
    this.controls.enableZoom = false;  // the wheel scrolls the page until somebody takes hold of the scene
    this.canvas.style.touchAction = "pan-y";
    this.#make();
    this.#listen();
  }

  #make() {
    const color = hex => new THREE.Vector3(...[1, 3, 5].map(at => parseInt(hex.slice(at, at + 2), 16) / 255));
    this.palette = new THREE.DataTexture(new Uint8Array(4 * 256), 256, 1);
    const uniforms = {
      panel: 0, size: 0.05, pixels: 1, top: 1, palette: this.palette,
      correct: color(this.about.errors.correct), wrong: color(this.about.errors.wrong),
      unscored: color(this.about.errors.unscored),
    };
    const material = (vertexShader, fragmentShader, values, options) => new THREE.ShaderMaterial({
      glslVersion: THREE.GLSL3, vertexShader, fragmentShader, ...options,
      uniforms: Object.fromEntries(Object.entries(values).map(([name, value]) => [name, {value}])),
    });
    this.points = new THREE.Points(new THREE.BufferGeometry(), material(POINTS_VERTEX, POINTS_FRAGMENT, uniforms));
    this.points.frustumCulled = false;
    this.world = new THREE.Scene().add(this.points);
    this.target = new THREE.WebGLRenderTarget(1, 1, {depthTexture: new THREE.DepthTexture(1, 1)});
    const shade = {picture: this.target.texture, depths: this.target.depthTexture, near: 0.1, far: 100, reach: 2};
    const square = new THREE.Mesh(
      new THREE.PlaneGeometry(2, 2), material(SHADE_VERTEX, SHADE_FRAGMENT, shade, {depthTest: false}));
    square.frustumCulled = false;
    this.shading = new THREE.Scene().add(square);
    this.shadeUniforms = square.material.uniforms;
  }

  #listen() {
    const redraw = () => this.draw();
    this.controls.addEventListener("change", redraw);
    this.canvas.addEventListener("pointerdown", () => { this.controls.enableZoom = true; });
    this.canvas.addEventListener("pointerleave", () => { this.controls.enableZoom = false; });
    new ResizeObserver(() => this.#resize()).observe(this.find("stage"));
    for (const name of ["size", "height"]) this.find(name).addEventListener("input", redraw);
    this.find("reset").addEventListener("click", () => this.reset());
    this.find("all").addEventListener("click", () => this.#hide([]));
    this.find("none").addEventListener("click", () => this.#hide(this.scene ? this.scene.classes : []));
    const picker = this.find("picker");
    this.about.scenes.forEach(({name, note}, number) =>
      picker.add(new Option(note ? `${name} · ${note}` : name, number)));
    picker.addEventListener("change", () => this.open(Number(picker.value)));
    const step = by => this.open((this.current + by + this.about.scenes.length) % this.about.scenes.length);
    this.find("before").addEventListener("click", () => step(-1));
    this.find("after").addEventListener("click", () => step(1));
    this.find("panels").replaceChildren(...PANELS.map((name, panel) => this.#toggle(name, () => {
      if (!this.panels.delete(panel)) this.panels.add(panel);
      if (!this.panels.size) this.panels.add(panel);
      this.#layout();
    })));
  }

  #toggle(text, act) {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = text;
    button.addEventListener("click", act);
    return button;
  }

  /** Shows scene `number` of about.scenes. */
  async open(number) {
    this.current = number;
    this.find("picker").value = number;
    this.root.dataset.state = "loading";
    try {
      const bytes = await this.load(number);
      if (number !== this.current) return;  // somebody has asked for another one meanwhile
      this.#show(decodePoints(bytes));
      this.root.dataset.state = "ready";
    } catch (error) {
      this.root.dataset.state = "failed";
      this.find("note").textContent = `This scene cannot be shown: ${error.message}`;
    }
  }

  #show(scene) {
    const {place, rgb, count, step} = scene;
    const geometry = new THREE.BufferGeometry();
    const nothing = () => new Uint8Array(count).fill(this.about.ignore);
    const shown = scene.truth ?? scene.prediction ?? nothing();
    geometry.setAttribute("position", new THREE.BufferAttribute(place, 4));
    geometry.setAttribute("rgb", new THREE.BufferAttribute(rgb, 4, true));
    geometry.setAttribute("truth", new THREE.BufferAttribute(shown, 1));
    geometry.setAttribute("prediction", new THREE.BufferAttribute(scene.prediction ?? nothing(), 1));
    this.points.geometry.dispose();
    this.points.geometry = geometry;

    scene.low = [Infinity, Infinity, Infinity];
    scene.high = [0, 0, 0];
    for (let i = 0; i < count; i++)
      for (let axis = 0; axis < 3; axis++) {
        const value = place[4 * i + axis];
        if (value < scene.low[axis]) scene.low[axis] = value;
        if (value > scene.high[axis]) scene.high[axis] = value;
      }
    scene.extent = scene.high.map((value, axis) => (value - scene.low[axis]) * step);
    this.points.scale.setScalar(step);
    this.points.position.set(
      -step * (scene.low[0] + scene.high[0]) / 2, -step * (scene.low[1] + scene.high[1]) / 2, -step * scene.low[2]);
    scene.spacing = this.#spacing(scene);
    const there = new Set([...(scene.truth ?? []), ...(scene.prediction ?? [])]);
    scene.classes = [...there].sort((a, b) => a - b);
    scene.panels = [scene.colored, scene.truth, scene.prediction, scene.truth && scene.prediction].map(Boolean);
    if (!scene.panels.includes(true)) scene.panels[COLOUR] = true;
    this.scene = scene;
    this.hidden.clear();

    const height = this.find("height");
    height.max = Math.ceil(scene.extent[2] * 20) / 20;
    height.value = scene.extent[2] > 2.2 ? 2.1 : height.max;  // most ceilings are higher
    this.find("note").textContent = `${count.toLocaleString("en")} points shown.`;
    this.#legend();
    this.#layout();
    this.reset();
  }

  /** Typical distance between neighbours, metres: the points follow a curve through their places. */
  #spacing({place, count, step}) {
    const steps = [];
    for (let i = 1; i < count; i += Math.max(1, count >> 11))
      steps.push(Math.hypot(...[0, 1, 2].map(axis => place[4 * i + axis] - place[4 * i - 4 + axis])) * step);
    steps.sort((a, b) => a - b);
    return steps.length ? Math.max(steps[steps.length >> 1], step) : 0.02;
  }

  #legend() {
    const {classes, unannotated, ignore} = this.about;
    const look = number => classes[number]
      ?? {name: number === ignore ? "unannotated" : `class ${number}`, color: unannotated};
    this.find("legend").replaceChildren(...this.scene.classes.map(number => {
      const {name, color} = look(number), button = this.#toggle(name, () => {
        if (!this.hidden.delete(number)) this.hidden.add(number);
        this.#hide(this.hidden);
      });
      const swatch = document.createElement("i");
      swatch.className = "swatch";
      swatch.style.background = color;
      button.prepend(swatch);
      button.dataset.class = number;
      return button;
    }));
    for (let number = 0; number < 256; number++) {
      const {color} = look(number);
      this.palette.image.data.set([1, 3, 5].map(at => parseInt(color.slice(at, at + 2), 16)), 4 * number);
    }
    this.#hide([]);
  }

  #hide(classes) {
    this.hidden = new Set(classes);
    for (const button of this.find("legend").children)
      button.setAttribute("aria-pressed", !this.hidden.has(Number(button.dataset.class)));
    for (let number = 0; number < 256; number++)
      this.palette.image.data[4 * number + 3] = this.hidden.has(number) ? 0 : 255;
    this.palette.needsUpdate = true;
    this.draw();
  }

  /** Which panels are drawn and where their captions stand. */
  #layout() {
    if (!this.scene) return;
    const can = this.scene.panels, wanted = [...this.panels].filter(panel => can[panel]).sort();
    this.drawn = wanted.length ? wanted : [can.lastIndexOf(true)];
    [...this.find("panels").children].forEach((button, panel) => {
      button.hidden = !can[panel];
      button.setAttribute("aria-pressed", this.drawn.includes(panel));
    });
    this.find("captions").replaceChildren(...this.drawn.map(panel => {
      const caption = document.createElement("span");
      caption.textContent = PANELS[panel];
      return caption;
    }));
    this.find("key").hidden = !this.drawn.includes(ERRORS);
    this.#resize();
  }

  #resize() {
    const stage = this.find("stage"), count = this.drawn?.length ?? 1;
    if (!stage.clientWidth) return;  // not on display
    const columns = Math.max(1, Math.min(count, Math.floor(stage.clientWidth / 280)));
    const rows = Math.ceil(count / columns), width = stage.clientWidth / columns;
    const tallest = "tall" in this.root.dataset ? 0.72 * innerHeight / rows : Math.min(560, 0.75 * innerHeight);
    const height = Math.round(Math.max(Math.min(width * 0.8, tallest), 240));
    this.grid = {columns, rows};
    stage.style.height = `${rows * height}px`;
    this.find("captions").style.gridTemplate = `repeat(${rows}, 1fr) / repeat(${columns}, 1fr)`;
    this.renderer.setSize(stage.clientWidth, rows * height, false);
    const pixels = this.renderer.getDrawingBufferSize(new THREE.Vector2());
    this.target.setSize(pixels.x, pixels.y);
    this.camera.aspect = width / height;
    this.draw();
  }

  /** Back to the look from above, over the nearer walls. */
  reset() {
    if (!this.scene) return;
    const [width, depth, height] = this.scene.extent;
    const middle = new THREE.Vector3(0, 0, Math.min(height, Number(this.find("height").value)) / 2.5);
    const reach = Math.max(Math.hypot(width, depth, Math.min(height, 2)) / 2, 0.05);
    const half = Math.tan(this.camera.fov * Math.PI / 360) * Math.min(1, this.camera.aspect);
    const away = 0.88 * reach / Math.sin(Math.atan(half));
    const azimuth = -62 * Math.PI / 180, elevation = 56 * Math.PI / 180;
    this.camera.position.set(
      away * Math.cos(elevation) * Math.cos(azimuth), away * Math.cos(elevation) * Math.sin(azimuth),
      away * Math.sin(elevation)).add(middle);
    this.camera.near = reach / 50;
    this.camera.far = 20 * reach;
    this.controls.target.copy(middle);
    this.controls.minDistance = reach / 20;
    this.controls.maxDistance = 8 * reach;
    this.controls.update();
    this.draw();
  }

  /** Draws once, with the next frame: nothing moves by itself. */
  draw() {
    if (this.waiting || !this.scene) return;
    this.waiting = true;
    requestAnimationFrame(() => { this.waiting = false; this.#render(); });
  }

  #render() {
    const {renderer, camera, scene, target} = this, {columns, rows} = this.grid;
    const width = Math.floor(target.width / columns), height = Math.floor(target.height / rows);
    const uniforms = this.points.material.uniforms;
    uniforms.size.value = 2.6 * scene.spacing * Number(this.find("size").value);
    uniforms.pixels.value = height / 2 / Math.tan(camera.fov * Math.PI / 360);
    uniforms.top.value = scene.low[2] + Number(this.find("height").value) / scene.step;
    camera.updateProjectionMatrix();
    renderer.setRenderTarget(target);
    renderer.clear();
    this.drawn.forEach((panel, number) => {
      uniforms.panel.value = panel;
      this.points.material.uniformsNeedUpdate = true;  // the same material is drawn again within a frame
      const row = Math.floor(number / columns);
      target.viewport.set(number % columns * width, target.height - (1 + row) * height, width, height);
      target.scissor.copy(target.viewport);
      target.scissorTest = true;
      renderer.setRenderTarget(target);
      renderer.render(this.world, camera);
    });
    this.shadeUniforms.near.value = camera.near;
    this.shadeUniforms.far.value = camera.far;
    this.shadeUniforms.reach.value = 1.5 * renderer.getPixelRatio();
    target.scissorTest = false;
    target.viewport.set(0, 0, target.width, target.height);
    renderer.setRenderTarget(null);
    renderer.clear();
    renderer.render(this.shading, camera);
    this.root.dataset.frames = Number(this.root.dataset.frames ?? 0) + 1;
  }
}

/** The view in element `root`, of the scenes that the page's #about-scenes names; null where there is no WebGL. */
function startViewer(root, load) {
  try {
    return new SceneViewer(root, JSON.parse(document.getElementById("about-scenes").textContent), load);
  } catch (error) {
    root.dataset.state = "failed";
    root.querySelector("[data-part=note]").textContent = `No 3D view: ${error.message}`;
    return null;
  }
}
