#!/bin/sh
# Rebuilds pointseg/report/templates/three.bundle.js, the parts of three.js that the pages' 3D view uses, as one script
# that defines the global THREE. Needs npm; the result is committed, so nobody else does.
set -eu
THREE=0.187.0
ESBUILD=0.28.2
target=$(cd "$(dirname "$0")/.." && pwd)/pointseg/report/templates/three.bundle.js
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm install --silent --no-audit --no-fund --prefix . "three@$THREE" "esbuild@$ESBUILD"
cat > entry.js <<'END'
export {
  BufferAttribute, BufferGeometry, DataTexture, DepthTexture, GLSL3, Mesh, PerspectiveCamera, PlaneGeometry, Points,
  Scene, ShaderMaterial, TOUCH, Vector2, Vector3, WebGLRenderTarget, WebGLRenderer,
} from "three";
export { OrbitControls } from "three/examples/jsm/controls/OrbitControls.js";
END
{
    printf '/* three.js %s, https://threejs.org, MIT licence:\n' "$THREE"
    sed 's/^/   /; s/ *$//' node_modules/three/LICENSE
    printf '*/\n'
} > bundle.js
npx esbuild entry.js --bundle --minify --format=iife --global-name=THREE --target=es2020 --legal-comments=none \
    --charset=utf8 --log-level=warning >> bundle.js
mv bundle.js "$target"
ls -l "$target"
