"""Catmull-Clark subdivision of a quad mesh as a sparse matrix, so that it applies to any attribute of the vertices."""

import numpy as np
import scipy.sparse as sp


def catmull_clark(n_vertices: int, quads: np.ndarray) -> tuple[sp.csr_matrix, np.ndarray]:
    """One subdivision step (Catmull and Clark 1978), with the usual cubic B-spline rule on open borders.

    Args:
        n_vertices: V, number of vertices.
        quads: (Q, 4) vertex numbers, in order around each face.

    Returns:
        Matrix (V + E + Q, V) that maps old vertex values to new ones, rows ordered as moved vertices, edge points,
        face points; and the new quads (4 Q, 4).
    """
    n_faces = len(quads)
    half_edges = np.sort(np.stack([quads, np.roll(quads, -1, axis=1)], axis=2).reshape(-1, 2), axis=1)
    edges, edge_of, faces_at_edge = np.unique(half_edges, axis=0, return_inverse=True, return_counts=True)
    edge_of = edge_of.reshape(n_faces, 4)
    n_edges = len(edges)
    border_edge = faces_at_edge == 1
    border_vertex = np.zeros(n_vertices, bool)
    border_vertex[edges[border_edge]] = True

    face_rows = np.repeat(np.arange(n_faces), 4)
    face_points = sp.csr_matrix((np.full(4 * n_faces, 0.25), (face_rows, quads.ravel())), (n_faces, n_vertices))
    edge_rows = np.repeat(np.arange(n_edges), 2)
    midpoints = sp.csr_matrix((np.full(2 * n_edges, 0.5), (edge_rows, edges.ravel())), (n_edges, n_vertices))
    inner = ~border_edge[edge_of.ravel()]
    edge_faces = sp.csr_matrix(
        (np.full(inner.sum(), 0.25), (edge_of.ravel()[inner], face_rows[inner])), (n_edges, n_faces)
    )
    edge_points = sp.diags(np.where(border_edge, 1.0, 0.5)) @ midpoints + edge_faces @ face_points

    vertex_faces = sp.csr_matrix((np.ones(4 * n_faces), (quads.ravel(), face_rows)), (n_vertices, n_faces))
    vertex_edges = sp.csr_matrix((np.ones(2 * n_edges), (edges.ravel(), edge_rows)), (n_vertices, n_edges))
    valence = np.maximum(np.asarray(vertex_faces.sum(1)).ravel(), 1)
    n_spokes = np.maximum(np.asarray(vertex_edges.sum(1)).ravel(), 1)
    smooth = (
        sp.diags(1 / valence**2) @ vertex_faces @ face_points
        + sp.diags(2 / (valence * n_spokes)) @ vertex_edges @ midpoints
        + sp.diags((valence - 3) / valence)
    )
    border_spokes = vertex_edges @ sp.diags(border_edge.astype(float))
    n_border = np.maximum(np.asarray(border_spokes.sum(1)).ravel(), 1)
    along_border = sp.diags(0.5 / n_border) @ border_spokes @ midpoints + 0.5 * sp.identity(n_vertices)
    vertex_points = (
        sp.diags((~border_vertex).astype(float)) @ smooth + sp.diags(border_vertex.astype(float)) @ along_border
    )

    edge_ids = n_vertices + edge_of
    face_ids = n_vertices + n_edges + np.arange(n_faces)
    new_quads = np.stack(
        [np.stack([quads[:, k], edge_ids[:, k], face_ids, edge_ids[:, k - 1]], axis=1) for k in range(4)], axis=1
    )
    return sp.vstack([vertex_points, edge_points, face_points]).tocsr(), new_quads.reshape(-1, 4)


def triangles(quads: np.ndarray) -> np.ndarray:
    """Split (Q, 4) quads into (2 Q, 3) int32 triangles."""
    return np.vstack([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]]).astype(np.int32)
